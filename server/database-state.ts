import postgres from "postgres";
import type { DatabaseState } from "./liveness.ts";

const limitSeconds = 3;

/** Asks the database on a connection made for this question. */
export async function databaseState(databaseUrl: string): Promise<DatabaseState> {
  const sql = postgres(databaseUrl, {
    max: 1,
    connect_timeout: limitSeconds,
    connection: { application_name: "darkroom-liveness", statement_timeout: limitSeconds * 1000 },
    onnotice: () => undefined,
  });
  let late: NodeJS.Timeout | undefined;
  try {
    const [row] = await Promise.race([
      sql<{ waits: boolean }[]>`
        select exists (select from pg_stat_activity
          where datname = current_database() and application_name like 'darkroom%'
            and state = 'active' and wait_event_type = 'Lock') as waits`,
      new Promise<undefined[]>((resolve) => (late = setTimeout(resolve, limitSeconds * 1000, []))),
    ]);
    if (row === undefined) return "does not answer";
    return row.waits ? "waits for locks" : "answers";
  } catch {
    // Whatever the reason is, a new process would meet it too.
    return "does not answer";
  } finally {
    clearTimeout(late);
    await sql.end({ timeout: 0 });
  }
}
