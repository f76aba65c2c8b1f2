import { DatabaseError } from "./driver.ts";

export { DatabaseError };

/**
 * - `CONNECTION_FAILED`: no connection could be made.
 * - `CONNECTION_LOST`: it ended before the answer arrived; the statement may or may not have run.
 * - `CONNECTION_DEADLINE`: no answer within the deadline; the connection was destroyed, the statement may have run.
 * - `CONNECTION_BUSY`: every connection of the pool was in use for too long; the statement did not run.
 * - `CONNECTION_CLOSED`: the pool was closed.
 */
export type ConnectionErrorCode =
  "CONNECTION_FAILED" | "CONNECTION_LOST" | "CONNECTION_DEADLINE" | "CONNECTION_BUSY" | "CONNECTION_CLOSED";

/** The database gave no answer. Callers may try again later. */
export class ConnectionError extends Error {
  readonly code: ConnectionErrorCode;

  constructor(code: ConnectionErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ConnectionError";
    this.code = code;
  }
}

/** Whether the database gave no answer, or serves no caller at the moment: those of every service may try again. */
export function isDatabaseAway(error: unknown): boolean {
  if (error instanceof ConnectionError) return true;
  // Class 53: out of connections, memory or disk space. 57P0: shutting down, crashed, starting.
  return error instanceof DatabaseError && /^(08|53|57P0)/.test(error.code ?? "");
}

/** Whether a statement that failed so may have been carried out all the same. */
export function isOutcomeUnknown(error: unknown): boolean {
  if (error instanceof ConnectionError) {
    return error.code !== "CONNECTION_FAILED" && error.code !== "CONNECTION_BUSY";
  }
  // A server that ends in the middle of a commit says so after it as well as before.
  return error instanceof DatabaseError && endsConnection(error);
}

/** Whether PostgreSQL gave up a statement for others' sake: a conflict, a deadlock, a lock or a time limit. */
export function isContention(error: unknown): boolean {
  return error instanceof DatabaseError && /^(40001|40P01|55P03|57014)$/.test(error.code ?? "");
}

/** Whether a connection cannot be used again after this error. */
export function endsConnection(error: unknown): boolean {
  if (!(error instanceof DatabaseError)) return true;
  return isUnavailable(error) || error.severity === "FATAL" || error.severity === "PANIC";
}

/** Whether a failed attempt to connect says that the database is not there at the moment. */
export function isOutage(error: unknown): boolean {
  return !(error instanceof DatabaseError) || isUnavailable(error);
}

/** Whether the server ended this connection and perhaps no other: `pg_terminate_backend`, a shutdown, or an idle timeout. */
export function isEndOfOneConnection(error: unknown): boolean {
  return error instanceof DatabaseError && /^(57P01|57P05|25P03)$/.test(error.code ?? "");
}

/** Whether a statement that writes met a server or a session that does not take writes. */
export function isReadOnly(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === "25006";
}

/** Class 08: connection exceptions. 57P: shutdown, crash, starting up. 53300: too many connections. */
function isUnavailable({ code }: DatabaseError): boolean {
  return code !== undefined && /^(08|57P0|53300)/.test(code);
}

/**
 * Whether PostgreSQL refuses a prepared statement because tables or functions have changed since. It runs
 * again on a new connection.
 */
export function isStalePlan(error: unknown): boolean {
  return (
    error instanceof DatabaseError &&
    (error.routine === "RevalidateCachedQuery" || error.routine === "FetchPreparedStatement")
  );
}
