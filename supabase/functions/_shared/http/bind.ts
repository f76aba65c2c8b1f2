import type { z } from "zod";
import type { Identifier, Identity } from "../auth/identify.ts";
import type { StripeAccess } from "../billing/stripe.ts";
import type { CheckoutSettings } from "../billing/variables.ts";
import {
  type Admission,
  type AdmissionRequest,
  callingToken,
  callingUser,
  type Database,
  type SqlArguments,
} from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import type { ProcessLimit } from "../limits/process-limit.ts";
import type { Storage } from "../media/storage.ts";
import type { Log } from "../observability/log.ts";
import type { PromptWriter } from "../prompts/prompt-writer.ts";
import type { FalAccess } from "../providers/fal-access.ts";
import type { FalWebhooks } from "../providers/fal-webhook.ts";
import type { ProviderRuns } from "../providers/task-runner.ts";
import type { WebhookSender } from "../webhooks/sender.ts";
import type { Waiting, WaitingRoom } from "../waiting/waiting-room.ts";
import { corsHeaders } from "./cors.ts";
import { type Caller, type Contract, type Endpoint, json, methodsOf } from "./endpoint.ts";
import { bodySchema } from "./openapi.ts";
import { isForm, readForm, readJson } from "./read-body.ts";
import { unstorableValues } from "./storable.ts";
import { listedFields, unknownFields } from "./unknown-fields.ts";

/** Everything a request needs that is not in the request; one per process. */
export interface Environment {
  database: Database;
  identifier: Identifier;
  storage: Storage;
  webhooks: WebhookSender;
  stripe: StripeAccess;
  promptWriter: PromptWriter;
  fal: FalWebhooks | undefined;
  falQueue: FalAccess;
  providerRuns: ProviderRuns | undefined;
  checkout: CheckoutSettings;
  /** Name and address lines of who sells, for receipts. */
  receiptSeller: string | undefined;
  processLimit: ProcessLimit;
  serviceRequestsPerMinute: number;
  waitingRoom: WaitingRoom;
  log: Log;
  /** Holds every answer against its contract; on in development and tests, where a mismatch must be seen. */
  checkAnswers: boolean;
}

const defaultBodyLimit = 1024 * 1024;

/** The endpoint as a `fetch` handler: CORS, method, caller, limit, body, run; errors in one format. */
export function bind(served: Endpoint, environment: Environment): (request: Request) => Promise<Response> {
  const { contract } = served;
  return async (request) => {
    const requestId = idOf(request);
    const admission = new RequestAdmission(contract, environment);
    let response: Response;
    try {
      if (request.method === "OPTIONS") response = preflight(contract);
      else response = await answer(served, request, admission, environment);
      if (request.method !== "OPTIONS") await holdAgainstContract(contract, response, environment);
    } catch (error) {
      response = errorResponse(
        await admission.countRefused(error),
        requestId,
        contract.name,
        environment.log,
      );
    }
    for (const [name, value] of Object.entries(corsHeaders)) response.headers.set(name, value);
    for (const [name, value] of admission.headers()) response.headers.set(name, value);
    response.headers.set("x-request-id", requestId);
    return response;
  };
}

async function answer(
  served: Endpoint,
  request: Request,
  admission: RequestAdmission,
  environment: Environment,
): Promise<Response> {
  const { contract } = served;
  if (!methodsOf(contract).includes(request.method)) {
    throw new AppError("method_not_allowed", { allow: allowedMethods(contract) });
  }

  const caller = contract.callers.includes("anyone")
    ? admission.anyone()
    : await admission.identify(await environment.identifier.identify(request.headers));
  let read: { body: unknown; text: string };
  try {
    read = await readBody(contract, request);
  } catch (error) {
    // A revoked token is told so, whatever it sent.
    await admission.admit();
    throw error;
  }
  if (contract.countsFirst) await admission.admit();
  return await served.run({
    ...read,
    caller,
    database: { call: (name, args) => admission.call(name, args) },
    storage: environment.storage,
    webhooks: environment.webhooks,
    stripe: environment.stripe,
    promptWriter: environment.promptWriter,
    fal: environment.fal,
    falQueue: environment.falQueue,
    providerRuns: environment.providerRuns,
    checkout: environment.checkout,
    receiptSeller: environment.receiptSeller,
    log: environment.log,
    waiting: waitingOf(request, read.body, admission, environment.waitingRoom),
    headers: request.headers,
    query: new URL(request.url).searchParams,
  });
}

/**
 * The request's place among those that wait. Only those that do ask for its signal, and before their first call: asked for after
 * the client has hung up, it may never be aborted, and a task would go to nobody.
 */
function waitingOf(request: Request, body: unknown, admission: RequestAdmission, room: WaitingRoom): Waiting {
  const mayWait = typeof body === "object" && body !== null && "wait_seconds" in body;
  const early = mayWait ? request.signal : undefined;
  return {
    now: () => room.now(),
    userId: () => admission.userId,
    isAbandoned: () => (early ?? request.signal).aborted,
    async hold(wanted, times, look) {
      const seat = { ...times, userId: admission.userId, signal: early ?? request.signal };
      const found = await room.hold(wanted, seat, () => {
        admission.expire();
        return look();
      });
      if (found === null) admission.expire();
      return found;
    },
  };
}

async function readBody(contract: Contract, request: Request): Promise<{ body: unknown; text: string }> {
  let raw: Record<string, unknown> | undefined;
  let text = "";
  try {
    if (request.method === "GET") raw = Object.fromEntries(new URL(request.url).searchParams);
    else if (contract.formLimit && isForm(request)) raw = await readForm(request, contract.formLimit);
    else {
      const json = await readJson(request, contract.bodyLimit ?? defaultBodyLimit);
      if (json) ({ object: raw, text } = json);
    }
  } catch (error) {
    const unreadable = error instanceof AppError && error.code === "invalid_json";
    const ignored = contract.bodyOptional && contract.unknownFields !== "refused";
    if (!(ignored && unreadable)) throw error;
  }
  if (raw === undefined && !contract.bodyOptional) throw new AppError("invalid_json");
  if (raw !== undefined) requireKnown(contract, raw);
  const parsed = contract.body.safeParse(raw ?? {});
  if (parsed.success) return { body: parsed.data, text };
  throw new AppError("invalid_request", { issues: issuesOf(parsed.error.issues).slice(0, 20) });
}

/**
 * What zod does not see, before it looks: fields that this endpoint refuses to ignore, and values that could not be stored.
 * @throws AppError `unknown_field`, `invalid_request`
 */
function requireKnown(contract: Contract, raw: Record<string, unknown>): void {
  const schema = bodySchema(contract);
  if (contract.unknownFields === "refused") {
    const [first, ...others] = unknownFields(schema, raw);
    if (first)
      throw new AppError("unknown_field", {
        ...first,
        ...(others.length > 0 && { others: others.slice(0, 20) }),
      });
  }
  // What is ignored may hold anything.
  const listed = listedFields(schema);
  const stored = Object.entries(raw).filter(
    ([name]) => (listed?.has(name) ?? true) && !contract.madeSafe?.includes(name),
  );
  const issues = unstorableValues(Object.fromEntries(stored));
  if (issues.length > 0) throw new AppError("invalid_request", { issues });
}

/** What is wrong, and where. Of a choice of forms, the one that fits best is the one that was meant. */
function issuesOf(
  issues: z.core.$ZodIssue[],
  parent: PropertyKey[] = [],
): { path: string; message: string }[] {
  return issues.flatMap((issue) => {
    const path = [...parent, ...issue.path];
    const forms = issue.code === "invalid_union" ? issue.errors : [];
    const [closest] = [...forms]
      .sort((a, b) => Number(isOtherKind(a)) - Number(isOtherKind(b)) || a.length - b.length)
      .map((form) => issuesOf(form, path));
    return closest?.length ? closest : [{ path: path.map(String).join("."), message: issue.message }];
  });
}

/** A text where the form is an object, say. */
function isOtherKind(form: z.core.$ZodIssue[]): boolean {
  return form.some(({ code, path }) => code === "invalid_type" && path.length === 0);
}

/**
 * Lets the caller of one request in: at once for the service, and for users in the same statement as
 * the first call, so that knowing a token and counting a request cost no round trip of their own.
 */
class RequestAdmission {
  #request: AdmissionRequest | undefined;
  #admitted: Admission | undefined;
  #isExpired = false;
  #limit: { limit: number; remaining: number; resetAt: number } | undefined;
  readonly #contract: Contract;
  readonly #environment: Environment;

  constructor(contract: Contract, environment: Environment) {
    this.#contract = contract;
    this.#environment = environment;
  }

  async identify(identity: Identity): Promise<Caller> {
    const { callers, name, requestsPerMinute, scope } = this.#contract;
    if (identity.kind === "nobody" || identity.kind === "public-key") throw new AppError("unauthenticated");
    if (identity.kind === "service") {
      if (!callers.includes("service")) throw new AppError("forbidden");
      this.#countHere(identity.key, this.#environment.serviceRequestsPerMinute);
      return { kind: "service" };
    }
    this.#request = {
      userId: identity.kind === "user" ? identity.userId : undefined,
      tokenHash: identity.kind === "personal-access-token" ? identity.tokenHash : undefined,
      scope: scope ?? "",
      limitKey: name,
      limitRequests: this.#contract.limitsRefusedOnly ? undefined : requestsPerMinute,
      limitWindowSeconds: 60,
    };
    if (!callers.includes(identity.kind) || (identity.kind === "personal-access-token" && !scope)) {
      // Who is nobody (a revoked token) is told that first; only then that this is not for tokens.
      await this.#environment.database.admit({ ...this.#request, scope: "" });
      throw new AppError("forbidden");
    }
    return identity.kind === "user"
      ? { kind: "user", userId: identity.userId }
      : { kind: "personal-access-token" };
  }

  /** Lets everybody in: what they show is not looked at, so an old session is no hindrance. */
  anyone(): Caller {
    this.#countHere(this.#contract.name, this.#contract.requestsPerMinute);
    return { kind: "anyone" };
  }

  /** Who was let in; nobody when it is the service. */
  get userId(): string | undefined {
    return this.#admitted?.user_id;
  }

  /** Time has passed: the next call checks the credentials again. It is the same request, so it is not counted. */
  expire(): void {
    this.#isExpired = true;
  }

  /** Admission by itself, for a request that ends before its first call. */
  async admit(): Promise<void> {
    if (this.#request && !this.#admitted) this.#keep(await this.#environment.database.admit(this.#request));
  }

  async call<T>(name: string, args: SqlArguments): Promise<T> {
    const { database } = this.#environment;
    if (!this.#request) return await database.call<T>(name, args);
    const earlier = this.#admitted;
    if (earlier && !this.#isExpired) return await database.call<T>(name, withCaller(args, earlier));
    const asked = earlier ? { ...this.#request, limitRequests: undefined } : this.#request;
    const { admission, result } = await database.callAdmitted<T>(asked, name, args);
    this.#isExpired = false;
    if (!earlier) this.#keep(admission);
    return result;
  }

  /**
   * A refused call was rolled back, its count too; counting it again keeps guessing expensive.
   * Answers the refusal to send: the same, or `rate_limited` after too many.
   */
  async countRefused(error: unknown): Promise<unknown> {
    if (!this.#request || !(error instanceof AppError) || error.status >= 500) return error;
    const uncounted = !this.#admitted || this.#admitted.remaining === null;
    if (!uncounted || error.code === "unauthenticated" || error.code === "rate_limited") return error;
    try {
      const { requestsPerMinute } = this.#contract;
      this.#keep(
        await this.#environment.database.admit({
          ...this.#request,
          scope: "",
          limitRequests: requestsPerMinute,
        }),
      );
      return error;
    } catch (failure) {
      return failure;
    }
  }

  headers(): [string, string][] {
    if (!this.#limit) return [];
    return [
      ["x-ratelimit-limit", String(this.#limit.limit)],
      ["x-ratelimit-remaining", String(Math.max(0, this.#limit.remaining))],
      ["x-ratelimit-reset", String(this.#limit.resetAt)],
    ];
  }

  #keep(admission: Admission): void {
    this.#admitted = admission;
    if (admission.remaining === null || admission.reset_at === null) return;
    this.#note(this.#contract.requestsPerMinute, admission.remaining, admission.reset_at);
  }

  #countHere(key: string, limit: number): void {
    const { remaining, resetAt } = this.#environment.processLimit.take(key, limit);
    this.#note(limit, remaining, resetAt);
    if (remaining < 0) throw rateLimited(resetAt);
  }

  #note(limit: number, remaining: number, resetAt: number): void {
    this.#limit = { limit, remaining, resetAt };
  }
}

function withCaller(args: SqlArguments, admitted: Admission): SqlArguments {
  const entries = Object.entries(args).map(([name, value]) => {
    if (value === callingUser) return [name, admitted.user_id];
    return [name, value === callingToken ? admitted.token_id : value];
  });
  return Object.fromEntries(entries) as SqlArguments;
}

function rateLimited(resetAt: number): AppError {
  return new AppError("rate_limited", {
    retry_after: Math.max(1, resetAt - Math.floor(Date.now() / 1000)),
  });
}

function preflight(contract: Contract): Response {
  return new Response("ok", { headers: { "access-control-allow-methods": allowedMethods(contract) } });
}

function allowedMethods(contract: Contract): string {
  return [...methodsOf(contract), "OPTIONS"].join(", ");
}

/** `{error, message, request_id, …details}`; what is not ours to say stays in the log. */
export function errorResponse(error: unknown, requestId: string, endpoint: string, log: Log): Response {
  const refused = error instanceof AppError ? error : new AppError("internal_error", {}, { cause: error });
  if (refused.code === "client_closed_request") {
    log.info({ request_id: requestId, endpoint }, refused.code);
  } else if (refused.status >= 500) {
    // `err` is the one name under which pino writes an error's message and stack.
    log.error({ request_id: requestId, endpoint, err: refused.cause ?? refused }, refused.code);
  }
  const { allow, ...details } = refused.details;
  const response = json(refused.status, {
    error: refused.code,
    message: refused.message,
    request_id: requestId,
    ...details,
  });
  if (typeof allow === "string") response.headers.set("allow", allow);
  const retryAfter = details["retry_after"];
  if (typeof retryAfter === "number") response.headers.set("retry-after", String(Math.ceil(retryAfter)));
  return response;
}

async function holdAgainstContract(
  { name, answers }: Contract,
  response: Response,
  { checkAnswers }: Environment,
): Promise<void> {
  if (!checkAnswers) return;
  const answered = answers[response.status];
  if (!answered) throw new Error(`${name} answered ${response.status}, which its contract does not list`);
  const type = response.headers.get("content-type")?.split(";")[0];
  if (type && type !== "application/json") {
    if (answered.otherTypes?.includes(type)) return;
    throw new Error(`${name} answered ${type}, which its contract does not list`);
  }
  if (!answered.schema) return;
  const parsed = answered.schema.safeParse(await response.clone().json());
  if (!parsed.success)
    throw new Error(`${name} answered what its contract does not: ${parsed.error.message}`);
}

/** The caller's own id, if it is one that is safe in logs and headers. */
export function idOf(request: Request): string {
  const given = request.headers.get("x-request-id");
  return given && /^[\w.:-]{1,128}$/.test(given) ? given : crypto.randomUUID();
}
