import { isDatabaseAway } from "../../supabase/functions/_shared/database/connection-error.ts";
import { isRoleFault } from "../../supabase/functions/_shared/database/role-fault.ts";
import { AppError } from "../../supabase/functions/_shared/errors/app-error.ts";

/** A refusal in GoTrue's words: `{code: <http>, error_code, msg, …details}`. */
export class AuthError extends Error {
  readonly status: number;
  readonly code: string;
  readonly details: Record<string, unknown>;

  constructor(
    status: number,
    code: string,
    message: string,
    details: Record<string, unknown> = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = "AuthError";
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

export function validationFailed(message: string): AuthError {
  return new AuthError(400, "validation_failed", message);
}

export function emailTaken(code: "user_already_exists" | "email_exists"): AuthError {
  return code === "user_already_exists"
    ? new AuthError(422, code, "User already registered")
    : new AuthError(422, code, "A user with this email address has already been registered");
}

/** The one place where what others throw becomes an answer; the cause is for the log. */
export function authErrorOf(error: unknown): AuthError {
  if (error instanceof AuthError) return error;
  const cause = { cause: error };
  if (error instanceof AppError) {
    switch (error.code) {
      case "unauthenticated":
        return new AuthError(403, "bad_jwt", "invalid JWT: unable to parse or verify signature", {}, cause);
      case "invalid_json":
        return new AuthError(400, "bad_json", "Could not parse request body as JSON", {}, cause);
      default:
        return new AuthError(
          error.status,
          error.status < 500 ? "validation_failed" : "unexpected_failure",
          error.message,
          {},
          cause,
        );
    }
  }
  if (isDatabaseAway(error)) {
    return new AuthError(503, "request_timeout", "The database does not answer; try again.", {}, cause);
  }
  const code = sqlCode(error);
  if (code === undefined) return unexpected(error);
  if (isRoleFault(error)) {
    return new AuthError(
      503,
      "request_timeout",
      "The database is not set up completely; try again later.",
      {},
      cause,
    );
  }
  // Text that PostgreSQL cannot hold, or that the records made with a user do not take.
  if (code.startsWith("22") || code === "23514") {
    return new AuthError(400, "validation_failed", "The request has text that cannot be stored", {}, cause);
  }
  return unexpected(error);
}

function unexpected(error: unknown): AuthError {
  return new AuthError(
    500,
    "unexpected_failure",
    "Unexpected failure, please check server logs",
    {},
    {
      cause: error,
    },
  );
}

export function sqlCode(error: unknown): string | undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : undefined;
}
