import { openPool } from "../supabase/functions/_shared/database/pool.ts";
import type { DatabaseState } from "./liveness.ts";

const limitSeconds = 3;

/** Asks the database on a connection made for this question. */
export async function databaseState(databaseUrl: string): Promise<DatabaseState> {
  const sql = openPool({
    url: databaseUrl,
    name: "darkroom-liveness",
    connections: 1,
    settings: { statement_timeout: String(limitSeconds * 1000) },
    deadlineMilliseconds: limitSeconds * 1000,
  });
  try {
    const [row] = await sql<{ waits: boolean }[]>`
      select exists (select from pg_stat_activity
        where datname = current_database() and application_name like 'darkroom%'
          and state = 'active' and wait_event_type = 'Lock') as waits`;
    if (row === undefined) return "does not answer";
    return row.waits ? "waits for locks" : "answers";
  } catch {
    // Whatever the reason is, a new process would meet it too.
    return "does not answer";
  } finally {
    await sql.end({ timeoutMilliseconds: 0 });
  }
}
