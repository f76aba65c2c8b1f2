import { escapeLiteral } from "pg";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import type { SqlValue } from "../../supabase/functions/_shared/database/sql.ts";
import { maxBodyBytes } from "./build-answer.ts";
import { maxRows } from "./build-sql.ts";
import type { Routine } from "./catalog.ts";
import type { MediaType, Preferences } from "./preferences.ts";
import { createPreparedShapes } from "./prepared-shapes.ts";
import { RestError } from "./rest-error.ts";
import type { Statement } from "./sql-text.ts";

const statementTimeoutMilliseconds = 10_000;
const maxPreparedShapes = 500;

/** The caller as the database knows it. */
export interface DatabaseCaller {
  role: "anon" | "authenticated" | "service_role";
  claims: Record<string, unknown>;
}

export interface Wanted {
  url: URL;
  caller: DatabaseCaller;
  media: MediaType;
  preferences: Preferences;
  method: string;
  /** Of the resource below `/rest/v1`, as functions and policies see it. */
  path: string;
  headers: Headers;
}

export interface Answer {
  body: string | null;
  rows: number;
  /** Matching rows of a read, if they were to be counted; rows that a write touched. */
  total: number | undefined;
  /** Rows of an upsert that were there before. */
  merged: number;
}

export type Execute = (
  statement: Statement,
  request: Wanted,
  access: "read only" | "read write",
  routine?: Routine,
) => Promise<Answer>;

interface AnswerRow {
  body: string | null;
  rows: string;
  total: string | null;
  merged: string | null;
  is_too_long?: boolean | null;
}

/** Runs a statement as the caller: role and claims live and die with the transaction. */
export function createExecutor(sql: Pool): Execute {
  const isPrepared = createPreparedShapes(maxPreparedShapes);

  return async (statement, request, access, routine) =>
    await sql.transaction(
      async (transaction) => {
        const run = <Row extends object>({ text, values }: Pick<Statement, "text" | "values">) =>
          transaction.query<Row[]>(text, values as SqlValue[], { prepare: isPrepared(text) });
        const [row] = await run<AnswerRow>(statement);
        if (!row) throw new Error("a REST statement gave no row");
        if (row.is_too_long) throw answerTooLong();
        const answer: Answer = {
          body: row.body,
          rows: Number(row.rows),
          total: row.total === null ? undefined : Number(row.total),
          merged: Number(row.merged ?? 0),
        };
        if (statement.estimate) {
          const estimate = await run<Record<string, unknown>>(statement.estimate);
          answer.total = estimatedTotal(answer.total, plannedRows(estimate));
        }
        // Inside the transaction, so that a refusal takes back what was written.
        holdAgainstWishes(answer, request, routine);
        return answer;
      },
      { begin: beginAsCaller(request, access) },
    );
}

function answerTooLong(): RestError {
  return new RestError(413, "54000", `The answer is longer than ${maxBodyBytes} bytes`, {
    hint: "Select fewer columns, or ask for fewer rows by limit.",
  });
}

/**
 * Begins the transaction and becomes the caller, in one message to the server. PostgreSQL runs these commands in order
 * and none after one that fails, so that no statement runs outside the transaction or as another role.
 */
function beginAsCaller(
  { caller, method, path, headers, preferences }: Wanted,
  access: "read only" | "read write",
): string {
  const settings: Record<string, string> = {
    role: caller.role,
    "request.jwt.claims": JSON.stringify(caller.claims),
    "request.method": method,
    "request.path": path,
    "request.headers": JSON.stringify(Object.fromEntries(headers)),
    search_path: '"public", "extensions"',
    statement_timeout: String(statementTimeoutMilliseconds),
    ...(preferences.timeZone ? { timezone: preferences.timeZone } : {}),
  };
  const calls = Object.entries(settings).map(
    ([name, value]) => `set_config(${escapeLiteral(name)}, ${escapeLiteral(value)}, true)`,
  );
  return `begin ${access}; select ${calls.join(", ")}`;
}

/** Small results were counted up to a page; beyond, the planner knows better than that page. */
function estimatedTotal(counted: number | undefined, planned: number): number {
  if (counted === undefined) return planned;
  return counted > maxRows ? Math.max(counted, planned) : counted;
}

function plannedRows(explained: Record<string, unknown>[]): number {
  const [plan] = Object.values(explained[0] ?? {}) as [{ Plan: { "Plan Rows": number } }[]];
  const rows = plan[0]?.Plan["Plan Rows"];
  if (rows === undefined) throw new Error("EXPLAIN names no rows");
  return rows;
}

function holdAgainstWishes(answer: Answer, { media, preferences, method }: Wanted, routine?: Routine): void {
  const { rows, total } = answer;
  const hasRows = !routine || (routine.returnsSet && routine.returns === "row");
  if (method === "PUT" && total !== 1) {
    throw new RestError(400, "PGRST115", "Payload values do not match URL in primary key column(s)");
  }
  const isRead = method === "GET" || method === "HEAD";
  if (
    media.single &&
    hasRows &&
    rows !== 1 &&
    (isRead || preferences.returning === "representation" || routine)
  ) {
    throw new RestError(406, "PGRST116", "Cannot coerce the result to a single JSON object", {
      details: `The result contains ${rows} rows`,
    });
  }
  const affected = routine ? rows : (total ?? rows);
  if (!isRead && preferences.maxAffected !== undefined && affected > preferences.maxAffected) {
    throw new RestError(400, "PGRST124", "Query result exceeds max-affected preference constraint", {
      details: `The query affects ${affected} rows`,
    });
  }
}
