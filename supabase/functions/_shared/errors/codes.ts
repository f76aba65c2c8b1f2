/**
 * Every refusal of Darkroom: its code on the wire, its HTTP status and its sentence for people.
 * SQL refuses with the same codes (SQLSTATE `PT` + status, the code as message); `docs/errors.md` is made from this.
 */
export const errorCodes = {
  invalid_json: { status: 400, message: "The body is not a JSON object." },
  invalid_request: { status: 400, message: "The request does not fit what this endpoint takes." },
  invalid_output: { status: 400, message: "The output file cannot be used." },
  unauthenticated: { status: 401, message: "No valid credentials were sent." },
  insufficient_credits: { status: 402, message: "The account does not cover this task." },
  forbidden: { status: 403, message: "These credentials may not do this." },
  insufficient_scope: { status: 403, message: "This access token lacks the scope for this." },
  not_found: { status: 404, message: "There is nothing here." },
  task_not_found: { status: 404, message: "There is no such task." },
  project_not_found: { status: 404, message: "There is no such project." },
  user_not_found: { status: 404, message: "There is no such user." },
  token_not_found: { status: 404, message: "There is no such access token." },
  webhook_not_found: { status: 404, message: "There is no such webhook." },
  shot_not_found: { status: 404, message: "There is no such shot." },
  generation_not_found: { status: 404, message: "There is no such generation." },
  delivery_not_found: { status: 404, message: "There is no such delivery." },
  output_not_found: { status: 404, message: "The named file is not in storage." },
  method_not_allowed: { status: 405, message: "This method is not served here." },
  invalid_transition: { status: 409, message: "A task in this status cannot take that one." },
  stale_attempt: { status: 409, message: "This attempt is over; the task was given to another." },
  task_cancelled: { status: 409, message: "The task was cancelled; stop working on it." },
  task_not_running: { status: 409, message: "The task is not in progress with this caller." },
  output_not_final: {
    status: 409,
    message: "The task of this file is not complete; its files may still change.",
  },
  task_id_conflict: { status: 409, message: "A different task with this id exists." },
  webhook_disabled: { status: 409, message: "The webhook is disabled; enable it first." },
  body_too_large: { status: 413, message: "The body is larger than this endpoint takes." },
  unsupported_media_type: { status: 415, message: "Send JSON, not encoded." },
  orchestrator_finished: { status: 409, message: "The orchestration is over; it takes no more tasks." },
  idempotency_key_reused: { status: 422, message: "This idempotency key was used with another request." },
  unknown_task_type: { status: 422, message: "There is no such task type." },
  invalid_dependency: {
    status: 422,
    message: "A dependency is missing, foreign, finished badly or circular.",
  },
  token_limit_reached: { status: 422, message: "The account has as many access tokens as it may." },
  webhook_limit_reached: { status: 422, message: "The project has as many webhooks as it may." },
  webhook_url_refused: { status: 422, message: "Nothing can be sent to this address." },
  rate_limited: { status: 429, message: "Too many requests; wait before the next." },
  internal_error: { status: 500, message: "Something failed on our side." },
  storage_unavailable: { status: 503, message: "Storage does not answer; try again." },
  database_unavailable: { status: 503, message: "The database does not answer; try again." },
} as const satisfies Record<string, { status: number; message: string }>;

export type ErrorCode = keyof typeof errorCodes;

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorCodes, code);
}
