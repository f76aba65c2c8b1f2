import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { DatabaseError } from "../../supabase/functions/_shared/database/connection-error.ts";
import { openPool, type Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { json, type SqlValue } from "../../supabase/functions/_shared/database/sql.ts";

/** Set by `scripts/test.ts`, which starts the server and makes the template that is cloned here. */
export const clusterUrlVariable = "DARKROOM_TEST_CLUSTER_URL";
export const templateName = "darkroom_template";

export interface TestDatabase {
  url: string;
  name: string;
}

/** One real connection, for what two callers do at once. */
export interface Session {
  query<Row extends object = Record<string, unknown>>(
    text: string,
    params?: readonly unknown[],
  ): Promise<{ rows: Row[] }>;
  close(): Promise<void>;
}

export type Role = "anon" | "authenticated" | "service_role";

export interface DatabaseUnderTest extends TestDatabase {
  /** Pool as the owner, whom no policy holds back. */
  sql: Pool;
  session(): Promise<Session>;
  /** Resolves when a connection to this database waits for a lock (or so many do): what a test began second has met the first. */
  lockIsWaitedFor(by?: number): Promise<void>;
  /** A connection as a role with the claims of a token: `sessionAs("authenticated", { sub: userId })`. */
  sessionAs(role: Role, claims?: Record<string, unknown>): Promise<Session>;
}

/** Runs a test on a fresh clone of the migrated and seeded database, with everything closed at the end. */
export async function withDatabase<Result>(
  test: (database: DatabaseUnderTest) => Promise<Result>,
): Promise<Result> {
  const database = await createTestDatabase();
  const sql = openPool({ url: database.url, name: "test", connections: 10, deadlineMilliseconds: Infinity });
  const sessions: Session[] = [];

  async function session(): Promise<Session> {
    const opened = openSession(database.url);
    sessions.push(opened);
    await opened.query("select 1");
    return opened;
  }

  try {
    return await test({
      ...database,
      sql,
      session,
      async lockIsWaitedFor(by = 1) {
        for (let look = 0; look < 2000; look++) {
          const waiting = await sql`
            select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
          if (waiting.length >= by) return;
          await pause(5);
        }
        throw new Error("nobody waits for a lock");
      },
      async sessionAs(role, claims = {}) {
        const opened = await session();
        await opened.query(
          "select set_config('request.jwt.claims', $1, false), set_config('role', $2, false)",
          [JSON.stringify({ role, ...claims }), role],
        );
        return opened;
      },
    });
  } finally {
    await Promise.all([...sessions.map((opened) => opened.close()), sql.end({ timeoutMilliseconds: 0 })]);
    await dropTestDatabase(database);
  }
}

function openSession(url: string): Session {
  const connection = openPool({ url, name: "test", connections: 1, deadlineMilliseconds: Infinity });
  return {
    async query<Row extends object>(text: string, params: readonly unknown[] = []) {
      const rows = await connection.query<Row[]>(text, params.map(parameter));
      return { rows: [...rows] as Row[] };
    },
    // Without waiting: a test that failed half-way may have left a statement that waits for a lock.
    close: () => connection.end({ timeoutMilliseconds: 0 }),
  };
}

/** Objects, and arrays of them, are sent as JSON. */
function parameter(value: unknown): SqlValue {
  const isObject = (one: unknown) =>
    typeof one === "object" && one !== null && Object.getPrototypeOf(one) === Object.prototype;
  const isJson =
    (isObject(value) && !("toPostgres" in (value as object))) ||
    (Array.isArray(value) && value.some(isObject));
  return isJson ? json(value) : ((value ?? null) as SqlValue);
}

/** For suites that start a host on a database of their own; ends with `dropTestDatabase`. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const url = new URL(clusterUrl());
  const name = `test_${randomBytes(8).toString("hex")}`;
  await maintain(async (sql) => {
    for (let attempt = 1; ; attempt++) {
      try {
        await sql.query(`create database ${name} template ${templateName} strategy file_copy`);
        return;
      } catch (error) {
        // 55006: another test is cloning the template at this moment.
        if (!(error instanceof DatabaseError && error.code === "55006") || attempt === 100) throw error;
        await pause(20 + Math.random() * 50);
      }
    }
  });
  url.pathname = `/${name}`;
  return { url: url.href, name };
}

export async function dropTestDatabase({ name }: Pick<TestDatabase, "name">): Promise<void> {
  await maintain(async (sql) => {
    // `force` ends sessions, but not readers of the log, whose slots keep the database.
    await sql`select pg_terminate_backend(active_pid) from pg_replication_slots where database = ${name} and active`;
    for (let attempt = 1; ; attempt++) {
      try {
        await sql.query(`drop database if exists ${name} with (force)`);
        return;
      } catch (error) {
        if (!(error instanceof DatabaseError && error.code === "55006") || attempt === 20) throw error;
        await pause(50);
      }
    }
  });
}

async function maintain(work: (sql: Pool) => Promise<void>): Promise<void> {
  const sql = openPool({ url: clusterUrl(), name: "test", connections: 1 });
  try {
    await work(sql);
  } finally {
    await sql.end();
  }
}

function clusterUrl(): string {
  const url = process.env[clusterUrlVariable];
  if (!url)
    throw new Error(`${clusterUrlVariable} is not set: run the tests by "npm test [part of a file name]".`);
  return url;
}
