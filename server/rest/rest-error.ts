import { z } from "zod";
import { isDatabaseAway } from "../../supabase/functions/_shared/database/connection-error.ts";
import { isRoleFault } from "../../supabase/functions/_shared/database/role-fault.ts";
import { errorCodes } from "../../supabase/functions/_shared/errors/codes.ts";

/** A refusal in PostgREST's words: `{code, message, details, hint}` with a status. */
export class RestError extends Error {
  readonly status: number;
  readonly code: string;
  readonly details: unknown;
  readonly hint: string | null;
  readonly headers: Record<string, string>;

  constructor(
    status: number,
    code: string,
    message: string,
    more: {
      details?: unknown;
      hint?: string | null;
      headers?: Record<string, string>;
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: more.cause });
    this.name = "RestError";
    this.status = status;
    this.code = code;
    this.details = more.details ?? null;
    this.hint = more.hint ?? null;
    this.headers = more.headers ?? {};
  }
}

/** A name the schema cache does not have: worth a second look, for the schema may have changed since. */
export class UnknownNameError extends RestError {
  constructor(...args: ConstructorParameters<typeof RestError>) {
    super(...args);
    this.name = "UnknownNameError";
  }
}

export function unparsable(what: string, text: string, position: number, details: string): RestError {
  const message = `"failed to parse ${what} (${text.slice(0, 200)})" (line 1, column ${position + 1})`;
  return new RestError(400, "PGRST100", message, { details });
}

export function unknownTable(name: string): RestError {
  return new UnknownNameError(
    404,
    "PGRST205",
    `Could not find the table 'public.${name}' in the schema cache`,
  );
}

export function unknownColumn(relation: string, name: string): RestError {
  return new UnknownNameError(400, "42703", `column ${relation}.${name} does not exist`);
}

export function unknownBodyColumn(relation: string, name: string): RestError {
  return new UnknownNameError(
    400,
    "PGRST204",
    `Could not find the '${name}' column of '${relation}' in the schema cache`,
  );
}

export function unknownType(name: string): RestError {
  return new UnknownNameError(400, "42704", `type "${name}" does not exist`);
}

/** What PostgreSQL says to a write on a view that it cannot carry to a table. */
export function isUnwritable(error: unknown): error is Error & DatabaseRefusal {
  return isDatabaseError(error) && error.code === "55000";
}

interface DatabaseRefusal {
  code: string;
  message: string;
  detail?: string;
  hint?: string;
}

export function isDatabaseError(error: unknown): error is Error & DatabaseRefusal {
  return error instanceof Error && typeof (error as { code?: unknown }).code === "string";
}

/** What PostgreSQL says when a cached name or type is no longer what it was. */
export function speaksOfStaleSchema(error: unknown): boolean {
  return isDatabaseError(error) && ["42703", "42P01", "42883", "42704", "42804"].includes(error.code);
}

/** The one place where what PostgreSQL refuses becomes a status, as PostgREST maps it. */
export function restErrorOf(error: unknown, role: string): RestError {
  if (error instanceof RestError) return error;
  if (!isDatabaseError(error)) return internalError(error);
  const { code, message } = error;
  if (code === "PGRST") return restErrorInFull(error);
  if (isDatabaseAway(error)) {
    return new RestError(503, "PGRST000", "The database does not answer; try again.", { cause: error });
  }
  if (isRoleFault(error)) {
    return new RestError(503, "PGRST000", "The database is not set up completely; try again later.", {
      cause: error,
    });
  }
  // Neither a SQLSTATE nor a network code: a driver's or our own mistake.
  if (!/^[0-9A-Z]{5}$/.test(code)) return internalError(error);
  const status = statusOf(code, message, role);
  // What failed inside says more about us than the caller needs; the log has it.
  if (status === 500 && code.startsWith("XX")) return internalError(error);
  return new RestError(status, code, message, {
    details: error.detail ?? null,
    hint: error.hint ?? null,
    cause: error,
  });
}

const refusalInFull = z.object({
  code: z.string(),
  message: z.string(),
  details: z.string().nullish(),
  hint: z.string().nullish(),
});
const answerInFull = z.object({
  status: z
    .int()
    .min(300)
    .max(599)
    .refine((status) => status !== 304),
  headers: z.record(z.string(), z.string()),
});

/** `raise sqlstate 'PGRST'`: a function says the whole answer, its body as message and the rest as detail. */
function restErrorInFull(error: Error & DatabaseRefusal): RestError {
  const refusal = refusalInFull.safeParse(parsed(error.message));
  const answer = answerInFull.safeParse(parsed(error.detail ?? ""));
  if (!refusal.success || !answer.success) {
    const message = "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error";
    return new RestError(500, "PGRST121", message, { cause: error });
  }
  const { code, message, details, hint } = refusal.data;
  const { status, headers } = answer.data;
  return new RestError(status, code, message, { details, hint: hint ?? null, headers, cause: error });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function internalError(cause: unknown): RestError {
  return new RestError(500, "internal_error", errorCodes.internal_error.message, { cause });
}

function statusOf(code: string, message: string, role: string): number {
  switch (code) {
    case "23503":
    case "23505":
      return 409;
    case "22023":
      // A role of the token's own, that the database does not have.
      return /^role .* does not exist$/.test(message) ? 401 : 400;
    case "25006":
      return 405;
    case "21000":
      return /(requires a WHERE clause|cannot affect row a second time)$/.test(message) ? 400 : 500;
    case "P0001":
      return 400;
    case "42883":
    case "42P01":
      return 404;
    case "42P17":
      return 500;
    case "42501":
      // A stranger may get further by signing in; whoever is known, not.
      return role === "anon" ? 401 : 403;
    default:
  }
  switch (code.slice(0, 2)) {
    // A function says its status by `PT402`.
    case "PT":
      return /^PT[45]\d\d$/.test(code) ? Number(code.slice(2)) : 500;
    case "0L":
    case "0P":
    case "28":
      return 403;
    case "54":
      return 413;
    case "09":
    case "25":
    case "2D":
    case "38":
    case "39":
    case "3B":
    case "40":
    case "55":
    case "57":
    case "58":
    case "F0":
    case "HV":
    case "P0":
    case "XX":
      return 500;
    default:
      return 400;
  }
}
