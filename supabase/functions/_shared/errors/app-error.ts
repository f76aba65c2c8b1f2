import { type ErrorCode, errorCodes } from "./codes.ts";

/**
 * A caller's mistake, or a refusal: becomes `{error, message, request_id, …details}` with the code's status. A `message` among
 * the details stands in place of the code's own.
 */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly details: Record<string, unknown>;

  constructor(code: ErrorCode, details: Record<string, unknown> = {}, options?: ErrorOptions) {
    const { message } = details;
    super(typeof message === "string" ? message : errorCodes[code].message, options);
    this.name = "AppError";
    this.code = code;
    this.status = errorCodes[code].status;
    this.details = details;
  }
}
