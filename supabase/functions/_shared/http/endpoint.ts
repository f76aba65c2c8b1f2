import type { z } from "zod";
import type { StripeAccess } from "../billing/stripe.ts";
import type { CheckoutSettings } from "../billing/variables.ts";
import { callingToken, callingUser, type Database } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import type { ErrorCode } from "../errors/codes.ts";
import type { Storage } from "../media/storage.ts";
import type { Log } from "../observability/log.ts";
import type { PromptWriter } from "../prompts/prompt-writer.ts";
import type { FalAccess } from "../providers/fal-access.ts";
import type { FalWebhooks } from "../providers/fal-webhook.ts";
import type { ProviderRuns } from "../providers/task-runner.ts";
import type { WebhookSender } from "../webhooks/sender.ts";
import type { Waiting } from "../waiting/waiting-room.ts";

/** `anyone` stands alone: credentials are not looked at. */
export type CallerKind = "service" | "user" | "personal-access-token" | "anyone";

/** What a personal access token may be allowed to do. */
export const scopes = ["tasks:read", "tasks:write", "tasks:run"] as const;
export type Scope = (typeof scopes)[number];

/** The one who calls, already let in. `for_user` arguments: `forUser(caller)`. */
export type Caller =
  | { kind: "service" }
  | { kind: "user"; userId: string }
  | { kind: "personal-access-token" }
  | { kind: "anyone" };

/** A documented answer; without a schema it has no body. */
export interface Answer {
  description: string;
  schema?: z.ZodType;
  /** Content types that a caller may ask for instead of JSON. */
  otherTypes?: readonly string[];
}

export interface Contract<Body extends z.ZodType = z.ZodType> {
  /** As in the URL. */
  name: string;
  summary: string;
  /** POST alone unless said; by GET the fields are the query's. */
  methods?: readonly ("GET" | "POST")[];
  callers: readonly CallerKind[];
  /** What counts is not who calls but a signature over the body, which the endpoint looks at. */
  signed?: true;
  /** What a token needs; without it tokens are refused even if listed as callers. */
  scope?: Scope;
  body: Body;
  /** A missing or unreadable body counts as `{}`: some clients send none. With `unknownFields`, an unreadable one is refused. */
  bodyOptional?: boolean;
  /**
   * For endpoints that give rights, move money or send data out: a field that is misspelt must not count as left out.
   * Default: unknown fields are ignored.
   */
  unknownFields?: "refused";
  /** Fields of which only plain characters are used, so that any text is taken: a worker's file name costs no output. */
  madeSafe?: readonly string[];
  /** Bytes; 1 MiB unless said. */
  bodyLimit?: number;
  /** Bytes of a body that is sent as `multipart/form-data`; without it only JSON is taken. */
  formLimit?: number;

  /** Per caller and minute; where callers are not known, per process. Service keys have their own, generous limit. */
  requestsPerMinute: number;
  /** Only refused calls count: a worker that reports on the run it has is never told to wait. */
  limitsRefusedOnly?: boolean;
  /** Counted before it runs, by a round trip of its own: no burst of guesses is under way before one is counted. */
  countsFirst?: boolean;
  answers: Record<number, Answer>;
  /** Refusals of its own, beside those every endpoint has. */
  errors: readonly ErrorCode[];
}

export interface EndpointContext<Body> {
  body: Body;
  /** The JSON body as it was sent, for what is signed. */
  text: string;
  caller: Caller;
  database: Pick<Database, "call">;
  storage: Storage;
  webhooks: WebhookSender;
  stripe: StripeAccess;
  promptWriter: PromptWriter;
  /** Undefined where FAL's webhooks are not switched on. */
  fal: FalWebhooks | undefined;
  /** FAL's queue; answers undefined without a key. */
  falQueue: FalAccess;
  /** Runs tasks at a provider; undefined where a process has no such runner. */
  providerRuns: ProviderRuns | undefined;
  checkout: CheckoutSettings;
  /** Name and address lines of who sells, for receipts. */
  receiptSeller: string | undefined;
  log: Log;
  waiting: Waiting;
  /** Headers that are part of some contract, such as `Idempotency-Key`. */
  headers: Headers;
  /** Of the URL, for callers that were given an address with something in it. */
  query: URLSearchParams;
}

export interface Endpoint {
  contract: Contract;
  run(context: EndpointContext<unknown>): Promise<Response>;
}

/** An endpoint as data: contract and the one call into a room. */
export function endpoint<Body extends z.ZodType>(
  definition: Contract<Body> & { run(context: EndpointContext<z.output<Body>>): Promise<Response> },
): Endpoint {
  const { run, ...contract } = definition;
  return { contract, run: (context) => run(context as EndpointContext<z.output<Body>>) };
}

export function json(status: number, body: unknown): Response {
  return Response.json(body, { status });
}

export function noContent(): Response {
  return new Response(null, { status: 204 });
}

/** The methods that an endpoint answers, beside OPTIONS. */
export function methodsOf(contract: Contract): readonly string[] {
  return contract.methods ?? ["POST"];
}

/** Answers of every endpoint, whatever it does. */
export const commonErrors = [
  "invalid_json",
  "invalid_request",
  "unauthenticated",
  "forbidden",
  "method_not_allowed",
  "body_too_large",
  "unsupported_media_type",
  "client_closed_request",
  "rate_limited",
  "internal_error",
  "database_unavailable",
] as const satisfies readonly ErrorCode[];

/** The `for_user` argument of SQL functions: whose rows the caller may touch; the service, anybody's. */
export function forUser(caller: Caller): typeof callingUser | null {
  return caller.kind === "service" ? null : callingUser;
}

/** The `for_token` argument: the token that spends; null for sessions and the service. */
export function forToken(caller: Caller): typeof callingToken | null {
  return caller.kind === "personal-access-token" ? callingToken : null;
}

/** The key of the body or of the header `Idempotency-Key`; undefined when there is none, 400 when it is too long. */
export function idempotencyKeyOf(inBody: string | null | undefined, headers: Headers): string | undefined {
  const key = inBody ?? headers.get("idempotency-key") ?? undefined;
  if (key !== undefined && (key.length === 0 || key.length > 200)) {
    throw new AppError("invalid_request", {
      issues: [{ path: "idempotency_key", message: "has not 1 to 200 characters" }],
    });
  }
  return key;
}
