/**
 * Every refusal of Darkroom: its code on the wire, its HTTP status and its sentence for people.
 * SQL refuses with the same codes (SQLSTATE `PT` + status, the code as message); `docs/errors.md` is made from this.
 */
export const errorCodes = {
  invalid_json: { status: 400, message: "The body is not a JSON object." },
  invalid_request: { status: 400, message: "The request does not fit what this endpoint takes." },
  unknown_field: { status: 400, message: "This endpoint does not take a field of this name." },
  no_speech_detected: { status: 400, message: "Nothing is said in the recording." },
  invalid_signature: { status: 400, message: "The signature does not fit the body, or is not of now." },
  unauthenticated: { status: 401, message: "No valid credentials were sent." },
  insufficient_credits: { status: 402, message: "The account does not cover this task." },
  account_in_debt: {
    status: 402,
    message: "The account owes for credit that was taken back; top it up first.",
  },
  spend_cap_reached: { status: 402, message: "The project or token may not spend this much this month." },
  forbidden: { status: 403, message: "These credentials may not do this." },
  insufficient_scope: { status: 403, message: "This access token lacks the scope for this." },
  address_not_confirmed: { status: 403, message: "This is for people with a confirmed mail address." },
  not_found: { status: 404, message: "There is nothing here." },
  task_not_found: { status: 404, message: "There is no such task." },
  project_not_found: { status: 404, message: "There is no such project." },
  user_not_found: { status: 404, message: "There is no such user." },
  token_not_found: { status: 404, message: "There is no such access token." },
  webhook_not_found: { status: 404, message: "There is no such webhook." },
  shot_not_found: { status: 404, message: "There is no such shot." },
  generation_not_found: { status: 404, message: "There is no such generation." },
  variant_not_found: { status: 404, message: "There is no such variant." },
  shot_generation_not_found: { status: 404, message: "There is no such image in a shot." },
  delivery_not_found: { status: 404, message: "There is no such delivery." },
  output_not_found: { status: 404, message: "The named file is not in storage." },
  quote_not_found: { status: 404, message: "There is no such quote." },
  entry_not_found: { status: 404, message: "There is no such ledger entry." },
  promo_code_not_found: { status: 404, message: "There is no such code." },
  checkout_not_found: { status: 404, message: "There is no such checkout." },
  alert_not_found: { status: 404, message: "There is no such open alert." },
  method_not_allowed: { status: 405, message: "This method is not served here." },
  invalid_transition: { status: 409, message: "A task in this status cannot take that one." },
  stale_attempt: { status: 409, message: "This attempt is over; the task was given to another." },
  task_cancelled: { status: 409, message: "The task was cancelled; stop working on it." },
  provider_job_open: {
    status: 409,
    message: "Another job at the provider runs this task, or this job another task.",
  },
  sold_below_cost: {
    status: 409,
    message:
      "The task would cost more at the provider than it is sold for, or the provider's price is not known. The task has failed.",
  },
  unpaid_provider_limit: {
    status: 409,
    message:
      "Tasks of this user that ended today have cost the provider's price without a charge too often. The task has failed.",
  },
  task_not_running: { status: 409, message: "The task is not in progress with this caller." },
  call_in_progress: { status: 409, message: "A call with this idempotency key is still being answered." },
  output_not_final: {
    status: 409,
    message: "The task of this file is not complete; its files may still change.",
  },
  output_replaceable: {
    status: 409,
    message: "An upload URL may still replace the output file. Complete the task by complete_task.",
  },
  output_replaced: {
    status: 409,
    message: "An output file was replaced while it was checked. Complete the task again.",
  },
  task_id_conflict: { status: 409, message: "A different task with this id exists." },
  quote_expired: { status: 409, message: "The quote is older than ten minutes; ask for another." },
  promo_code_ended: { status: 409, message: "This code is used up, or its time is over." },
  promo_code_taken: { status: 409, message: "A code of this name with other content exists." },
  welcome_bonus_refused: { status: 409, message: "There is no welcome bonus for this account." },
  webhook_disabled: { status: 409, message: "The webhook is disabled; enable it first." },
  body_too_large: { status: 413, message: "The body is larger than this endpoint takes." },
  unsupported_media_type: { status: 415, message: "Send JSON, not encoded." },
  orchestrator_finished: { status: 409, message: "The orchestration is over; it takes no more tasks." },
  idempotency_key_reused: { status: 422, message: "This idempotency key was used with another request." },
  quote_mismatch: { status: 422, message: "The quote was for another task type or other params." },
  unpriced_value: {
    status: 422,
    message:
      "A parameter that the price depends on has a value without a price. Send one of the allowed values.",
  },
  unsupported_by_model: {
    status: 422,
    message: "The model cannot make what is asked for. `issues` names the parameters and what it takes.",
  },
  contradicting_values: {
    status: 422,
    message: "Parameters that mean the same priced quantity have different values. Send one of them.",
  },
  too_many_outputs: {
    status: 422,
    message: "There are more outputs than the task pays for. Complete it with as many as are paid.",
  },
  expiry_in_the_past: { status: 422, message: "Credit cannot expire before it is granted." },
  price_in_the_past: { status: 422, message: "A price cannot begin in the past." },
  invalid_variant_prices: {
    status: 422,
    message:
      "variant_prices must be whole micro-dollars from 0 to 1000000000 by names of 1 to 100 characters.",
  },
  invalid_cost_factors: { status: 422, message: "These are no factors of a price." },
  unknown_task_type: { status: 422, message: "There is no such task type." },
  unknown_family: { status: 422, message: "There is no such family of tasks." },
  unknown_tool: { status: 422, message: "No tool has this id. Send one of `tools`, or a task type." },
  unclear_task_type: {
    status: 422,
    message: "The tool has several task types. Send one of `task_types` in params.task_type.",
  },
  invalid_dependency: {
    status: 422,
    message: "A dependency is missing, foreign, finished badly or circular.",
  },
  task_limit_reached: {
    status: 422,
    message: "The task would exceed a limit. Wait until tasks have ended, then send the request again.",
  },
  token_limit_reached: { status: 422, message: "The account has as many access tokens as it may." },
  webhook_limit_reached: { status: 422, message: "The project has as many webhooks as it may." },
  webhook_url_refused: { status: 422, message: "Nothing can be sent to this address." },
  return_url_refused: { status: 422, message: "A checkout may not return to this address." },
  invalid_output: {
    status: 422,
    message:
      "An output file is not a complete file of the kind that the task makes. Upload it again, then complete the task.",
  },
  client_closed_request: {
    status: 499,
    message: "The client closed the connection before its request was complete.",
  },
  rate_limited: { status: 429, message: "Too many requests; wait before the next." },
  free_allowance_used: {
    status: 429,
    message: "The free calls of this account are used up for today.",
  },
  internal_error: { status: 500, message: "Something failed on our side." },
  provider_failed: { status: 502, message: "The provider behind this refused what we asked for." },
  provider_not_configured: { status: 503, message: "The provider behind this is not set up here." },
  provider_unavailable: { status: 503, message: "The provider behind this does not answer; try again." },
  provider_timeout: { status: 504, message: "The provider behind this took too long; try again." },
  storage_unavailable: { status: 503, message: "Storage does not answer; try again." },
  database_unavailable: { status: 503, message: "The database does not answer; try again." },
} as const satisfies Record<string, { status: number; message: string }>;

export type ErrorCode = keyof typeof errorCodes;

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorCodes, code);
}
