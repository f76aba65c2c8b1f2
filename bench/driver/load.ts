/**
 * One driver under load, in a process of its own: `load.ts <pg|postgres> <url> <statements> <terminations>`. Runs on Node and on Deno, and
 * prints its figures as JSON on the last line. A process that ends without that line has failed.
 */
import { setTimeout as pause } from "node:timers/promises";

const [driver = "", url = "", statements = "0", terminations = "0"] = process.argv.slice(2);
const connections = 12;
const atOnce = 64;
const parameter = "x".repeat(3_000);

interface Driver {
  /** A named statement with a parameter of 3 kB. */
  echo(text: string): Promise<void>;
  /** A transaction whose connection the server ends; it must fail, and nothing else. */
  terminated(): Promise<void>;
}

const opened = driver === "pg" ? await openPg() : await openPostgres();

const begun = performance.now();
await inParallel(atOnce, Number(statements), () => opened.echo(parameter));
const seconds = (performance.now() - begun) / 1000;

// Each transaction has its own connection terminated under it.
let failed = 0;
await inParallel(8, Number(terminations), () => opened.terminated().catch(() => void failed++));
const answered = await Promise.all(
  Array.from({ length: 40 }, () =>
    Promise.race([
      opened.echo("after").then(
        () => 1,
        () => 0,
      ),
      pause(5_000, 0),
    ]),
  ),
);
console.log(
  JSON.stringify({
    per_second: Math.round(Number(statements) / seconds),
    failed,
    answered: answered.reduce<number>((sum, one) => sum + one, 0),
  }),
);
process.exit(0);

async function inParallel(callers: number, calls: number, call: () => Promise<void>): Promise<void> {
  let left = calls;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (left-- > 0) await call();
    }),
  );
}

async function openPg(): Promise<Driver> {
  const { Pool } = await import("pg");
  const pool = new Pool({ connectionString: url, max: connections, application_name: "driver-load" });
  pool.on("connect", (client) => client.on("error", () => undefined));
  pool.on("error", () => undefined);
  return {
    async echo(text) {
      await pool.query({ name: "echo", text: "select $1::text as text", values: [text] });
    },
    async terminated() {
      const client = await pool.connect();
      let failure: Error | undefined;
      try {
        await client.query("begin");
        await client.query("select pg_terminate_backend(pg_backend_pid())");
        await client.query("commit");
      } catch (error) {
        failure = error as Error;
        throw error;
      } finally {
        client.release(failure);
      }
    },
  };
}

async function openPostgres(): Promise<Driver> {
  const { default: postgres } = await import("postgres");
  const sql = postgres(url, { max: connections, connection: { application_name: "driver-load" } });
  return {
    async echo(text) {
      await sql`select ${text}::text as text`;
    },
    async terminated() {
      await sql.begin(async (transaction) => {
        await transaction`select pg_terminate_backend(pg_backend_pid())`;
      });
    },
  };
}
