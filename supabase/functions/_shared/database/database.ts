import { AppError } from "../errors/app-error.ts";
import { isErrorCode } from "../errors/codes.ts";
import { DatabaseError, isContention, isDatabaseAway } from "./connection-error.ts";
import { openPool } from "./pool.ts";
import { isRoleFault } from "./role-fault.ts";
import type { SqlValue } from "./sql.ts";

export { json } from "./sql.ts";

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** Stands for the calling user in arguments: admission, in the same statement, finds out who that is. */
export const callingUser = Symbol("calling user");
/** The same for the access token that was shown; null where none was. */
export const callingToken = Symbol("calling token");

/** JSON is marked by `json()`; an argument that is undefined keeps the default of the SQL function. */
export type SqlArgument = SqlValue | typeof callingUser | typeof callingToken | undefined;
export type SqlArguments = Record<string, SqlArgument>;

/** Whom to let in before the function runs; the arguments of the SQL function `admit`. */
export interface AdmissionRequest {
  userId: string | undefined;
  tokenHash: Uint8Array | undefined;
  scope: string;
  limitKey: string;
  /** Undefined: not counted. */
  limitRequests: number | undefined;
  limitWindowSeconds: number;
}

export interface Admission {
  user_id: string;
  token_id: string | null;
  /** Requests left in the window, and when it is whole again (epoch seconds); null when not counted. */
  remaining: number | null;
  reset_at: number | null;
}

export interface Database {
  /** Runs one SQL function of `public` by named arguments, in one round trip and its own transaction. */
  call<T>(name: string, args: SqlArguments): Promise<T>;
  /** The same, behind `admit`: refused callers never reach the function. */
  callAdmitted<T>(
    admission: AdmissionRequest,
    name: string,
    args: SqlArguments,
  ): Promise<{ admission: Admission; result: T }>;
  admit(admission: AdmissionRequest): Promise<Admission>;
  /** For the check of liveness: a question that costs nothing, and when PostgreSQL last answered any. */
  ping(): Promise<void>;
  lastAnswer(): number;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  url: string;
  /** Purpose of these connections; default: `darkroom`. */
  name?: string;
  /** Connections for calls; writes gain from group commit up to about 16. */
  connections?: number;
}

const statementTimeoutMilliseconds = 22_000;

/** Connects as `service_role`, which may execute exactly the functions that were granted to it. */
export function connect({ url, name = "darkroom", connections = 12 }: DatabaseOptions): Database {
  const sql = openPool({
    url,
    name,
    connections,
    settings: { role: "service_role", statement_timeout: String(statementTimeoutMilliseconds) },
  });

  async function run<Row extends object>(text: string, values: SqlValue[]): Promise<Row> {
    for (let attempt = 1; ; attempt++) {
      try {
        const rows = await sql.query<Row[]>(text, values, { prepare: true });
        return rows[0] as Row;
      } catch (error) {
        if (attempt < 4 && isRetryable(error)) {
          await pause(attempt * 20 * (0.5 + Math.random()));
          continue;
        }
        throw refusal(error);
      }
    }
  }

  return {
    async call<T>(name: string, args: SqlArguments): Promise<T> {
      const { list, values } = namedArguments(args, 0);
      const row = await run<{ result: T }>(`select public.${name}(${list}) as result`, values);
      return row.result;
    },
    async callAdmitted<T>(admission: AdmissionRequest, name: string, args: SqlArguments) {
      const before = admissionValues(admission);
      const { list, values } = namedArguments(args, before.length);
      return await run<{ admission: Admission; result: T }>(
        `select to_jsonb(caller) as admission, public.${name}(${list}) as result from ${admitCall} as caller`,
        [...before, ...values],
      );
    },
    async admit(admission) {
      const row = await run<{ admission: Admission }>(
        `select to_jsonb(caller) as admission from ${admitCall} as caller`,
        admissionValues(admission),
      );
      return row.admission;
    },
    async ping() {
      await sql`select 1`;
    },
    lastAnswer: () => sql.lastAnswer(),
    close: () => sql.end(),
  };
}

const admitCall =
  "public.admit(for_user => $1, for_token_hash => $2, for_scope => $3, limit_key => $4, limit_requests => $5, limit_window_seconds => $6)";

function admissionValues(admission: AdmissionRequest): SqlValue[] {
  return [
    admission.userId ?? null,
    admission.tokenHash ?? null,
    admission.scope,
    admission.limitKey,
    admission.limitRequests ?? null,
    admission.limitWindowSeconds,
  ];
}

/** `a => $1, b => caller.user_id`; names come from our code alone, values only as parameters. */
function namedArguments(args: SqlArguments, offset: number): { list: string; values: SqlValue[] } {
  const values: SqlValue[] = [];
  const parts: string[] = [];
  for (const [name, value] of Object.entries(args)) {
    if (value === undefined) continue;
    if (value === callingUser) {
      parts.push(`${name} => caller.user_id`);
    } else if (value === callingToken) {
      parts.push(`${name} => caller.token_id`);
    } else {
      values.push(value);
      parts.push(`${name} => $${offset + values.length}`);
    }
  }
  return { list: parts.join(", "), values };
}

/** Serialisation failure, deadlock: the whole function is one transaction, so it can simply run again. */
function isRetryable(error: unknown): boolean {
  return error instanceof DatabaseError && (error.code === "40001" || error.code === "40P01");
}

/**
 * Values that PostgreSQL cannot hold or compute with: class 22 (text, numbers, times and zones out of range), class 54
 * (nested too deep, too many). A division by zero is a mistake of our own.
 */
const unstorable = /^(22(?!012)|54)/;

/** The one place where SQL's refusals become ours. */
export function refusal(error: unknown): unknown {
  if (isDatabaseAway(error) || isContention(error)) {
    return new AppError("database_unavailable", { retry_after: 1 }, { cause: error });
  }
  if (!(error instanceof DatabaseError) || error.code === undefined) return error;
  if (/^PT\d{3}$/.test(error.code) && isErrorCode(error.message)) {
    const details = error.detail ? (JSON.parse(error.detail) as Record<string, unknown>) : {};
    return new AppError(error.message, details, { cause: error });
  }
  if (isRoleFault(error)) return new AppError("database_unavailable", { retry_after: 5 }, { cause: error });
  if (unstorable.test(error.code)) return new AppError("invalid_request", {}, { cause: error });
  return error;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
