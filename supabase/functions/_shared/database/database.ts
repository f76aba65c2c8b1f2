import postgres from "postgres";
import { AppError } from "../errors/app-error.ts";
import { isErrorCode } from "../errors/codes.ts";
import { isRoleFault } from "./role-fault.ts";

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** Stands for the calling user in arguments: admission, in the same statement, finds out who that is. */
export const callingUser = Symbol("calling user");
/** The same for the access token that was shown; null where none was. */
export const callingToken = Symbol("calling token");

export type SqlArgument = unknown;
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
  close(): Promise<void>;
}

export interface DatabaseOptions {
  url: string;
  /** Connections for calls; writes gain from group commit up to about 16. */
  connections?: number;
}

/** Connects as `service_role`, which may execute exactly the functions that were granted to it. */
export function connect({ url, connections = 12 }: DatabaseOptions): Database {
  const sql = postgres(url, {
    max: connections,
    idle_timeout: 300,
    connect_timeout: 10,
    // After an outage calls go through within a second; the driver's own pause grows to twenty.
    backoff: (failures) => Math.min(0.02 * 2 ** failures, 1) * (0.5 + Math.random() / 2),
    connection: { application_name: "darkroom", role: "service_role", statement_timeout: 30_000 },
    onnotice: () => undefined,
  });

  async function run<Row extends object>(text: string, values: unknown[]): Promise<Row> {
    for (let attempt = 1; ; attempt++) {
      try {
        const rows = await sql.unsafe<Row[]>(text, values as postgres.ParameterOrJSON<never>[], {
          prepare: true,
        });
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
    close: () => sql.end({ timeout: 5 }),
  };
}

const admitCall =
  "public.admit(for_user => $1, for_token_hash => $2, for_scope => $3, limit_key => $4, limit_requests => $5, limit_window_seconds => $6)";

function admissionValues(admission: AdmissionRequest): unknown[] {
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
function namedArguments(args: SqlArguments, offset: number): { list: string; values: unknown[] } {
  const values: unknown[] = [];
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

interface SqlError {
  code: string;
  message: string;
  detail?: string;
}

function isSqlError(error: unknown): error is SqlError {
  return error instanceof Error && typeof (error as { code?: unknown }).code === "string";
}

/** Serialisation failure, deadlock: the whole function is one transaction, so it can simply run again. */
function isRetryable(error: unknown): boolean {
  return isSqlError(error) && (error.code === "40001" || error.code === "40P01");
}

/** Text that PostgreSQL cannot hold (NUL, lone surrogates), numbers out of range, nesting too deep. */
const unstorable = new Set(["22P02", "22P05", "22021", "22003", "22007", "22008", "22023", "54001", "54000"]);

const unavailable =
  /^(08|57P0|53)|^(40001|40P01|57014|55P03)$|^(ECONN|ETIMEDOUT|EPIPE|CONNECT|CONNECTION_|ENOTFOUND|EAI_)/;

/** The one place where SQL's refusals become ours. */
export function refusal(error: unknown): unknown {
  if (!isSqlError(error)) return error;
  if (/^PT\d{3}$/.test(error.code) && isErrorCode(error.message)) {
    const details = error.detail ? (JSON.parse(error.detail) as Record<string, unknown>) : {};
    return new AppError(error.message, details, { cause: error });
  }
  if (isRoleFault(error)) return new AppError("database_unavailable", { retry_after: 5 }, { cause: error });
  if (unstorable.has(error.code)) return new AppError("invalid_request", {}, { cause: error });
  if (unavailable.test(error.code)) {
    return new AppError("database_unavailable", { retry_after: 1 }, { cause: error });
  }
  return error;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
