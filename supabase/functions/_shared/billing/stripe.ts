import type Stripe from "stripe";
import { AppError } from "../errors/app-error.ts";
import type { BillingVariable, BillingVariables } from "./variables.ts";

export type { Stripe };

/** Stripe as Darkroom reaches it: the official SDK, over `fetch`, so the same on Node and Deno. */
export interface StripeAccess {
  /** The SDK's client, made at the first call; undefined without a key. */
  client(): Promise<Stripe> | undefined;
  /** What events are signed with, several while one replaces another. */
  readonly webhookSecrets: readonly string[];
  /** Whether the key moves real money; undefined without a key, or with one that does not say. */
  readonly livemode: boolean | undefined;
}

const toleranceSeconds = 300;

/** How long an answer may take, and how often one that does not come is asked for again, with the same key. */
interface Patience {
  timeoutMilliseconds: number;
  maxNetworkRetries: number;
}

export function createStripe(
  variables: BillingVariables,
  patience: Patience = { timeoutMilliseconds: 15_000, maxNetworkRetries: 2 },
): StripeAccess {
  let made: Promise<Stripe> | undefined;
  const { STRIPE_SECRET_KEY: key, STRIPE_API_BASE: apiBase, STRIPE_WEBHOOK_SECRET: secrets = "" } = variables;
  return {
    client() {
      return key === undefined ? undefined : (made ??= createClient(key, apiBase, patience));
    },
    webhookSecrets: secrets
      .split(",")
      .map((secret) => secret.trim())
      .filter(Boolean),
    livemode: key && /^[sr]k_(live|test)_/.test(key) ? key.slice(3, 7) === "live" : undefined,
  };
}

/** The SDK's client; its failures are its own errors. 503 `provider_not_configured` without a key. */
export async function stripeClient(stripe: StripeAccess): Promise<Stripe> {
  const client = stripe.client();
  if (!client) throw notConfigured("STRIPE_SECRET_KEY");
  return await client;
}

/** One piece of work with the client, whose failures become 502, 503 or 504 and say nothing of Stripe's answer. */
export async function askStripe<Result>(
  stripe: StripeAccess,
  work: (client: Stripe) => Promise<Result>,
): Promise<Result> {
  const client = await stripeClient(stripe);
  try {
    return await work(client);
  } catch (error) {
    throw providerError(error);
  }
}

/**
 * Whether Stripe signed a text with one of our secrets within the last five minutes. Times more than five minutes off,
 * either way, are refused, so that an old message cannot be sent again. Nothing of the text is read.
 * @throws AppError `provider_not_configured` without a secret
 */
export async function verifySignature(
  { webhookSecrets }: StripeAccess,
  text: string,
  signature: string,
): Promise<boolean> {
  if (webhookSecrets.length === 0) throw notConfigured("STRIPE_WEBHOOK_SECRET");
  const [, signedAt] = /^t=(\d{1,12})(?:,v\d=[0-9a-f]{64})+$/.exec(signature.replaceAll(" ", "")) ?? [];
  // The SDK refuses what is old, not what is ahead.
  if (!(Number(signedAt) <= Date.now() / 1000 + toleranceSeconds)) return false;
  const { default: Sdk } = await import("stripe");
  const signatures = Sdk.webhooks.signature;
  if (!signatures) throw new Error("The Stripe SDK has no signatures.");
  for (const secret of webhookSecrets) {
    try {
      const crypto = Sdk.createSubtleCryptoProvider();
      await signatures.verifyHeaderAsync(text, signature, secret, toleranceSeconds, crypto);
      return true;
    } catch (error) {
      if (!(error instanceof Sdk.errors.StripeSignatureVerificationError)) throw error;
    }
  }
  return false;
}

export function notConfigured(variable: BillingVariable): AppError {
  return new AppError("provider_not_configured", { variable, retry_after: 60 });
}

/** Loaded when it is first needed: the SDK is large, and most functions of an edge never call it. */
async function createClient(
  secretKey: string,
  apiBase: string | undefined,
  { timeoutMilliseconds, maxNetworkRetries }: Patience,
): Promise<Stripe> {
  const { default: Sdk } = await import("stripe");
  return new Sdk(secretKey, {
    ...(apiBase === undefined ? {} : addressOf(apiBase)),
    httpClient: Sdk.createFetchHttpClient(),
    timeout: timeoutMilliseconds,
    maxNetworkRetries,
    telemetry: false,
  });
}

function addressOf(apiBase: string): { protocol: "http" | "https"; host: string; port: string } {
  if (!URL.canParse(apiBase)) throw notConfigured("STRIPE_API_BASE");
  const url = new URL(apiBase);
  if (!/^https?:$/.test(url.protocol) || url.pathname !== "/" || url.username !== "") {
    throw notConfigured("STRIPE_API_BASE");
  }
  const protocol = url.protocol === "http:" ? "http" : "https";
  return { protocol, host: url.hostname, port: url.port || (protocol === "http" ? "80" : "443") };
}

/** What the SDK's errors have that we look at; `raw` and `headers` are never logged, for they hold Stripe's answer. */
export interface StripeFailure {
  type: string;
  code: string | undefined;
  declineCode: string | undefined;
  /** The parameter that was wrong. */
  param: string | undefined;
  status: number | undefined;
  requestId: string | undefined;
  paymentIntent: Stripe.PaymentIntent | undefined;
  /** No answer came in time; what was asked for may have happened. */
  isTimeout: boolean;
}

/** The failure that an error of the SDK tells of; undefined for any other error. */
export function failureOf(error: unknown): StripeFailure | undefined {
  if (!(error instanceof Error) || !("type" in error) || !String(error.type).startsWith("Stripe")) {
    return undefined;
  }
  const told = error as Error & Partial<Stripe.errors.StripeError>;
  const {
    type = "StripeError",
    code,
    decline_code,
    param,
    statusCode,
    requestId,
    payment_intent,
    detail,
  } = told;
  return {
    type,
    code,
    declineCode: decline_code,
    param,
    status: statusCode,
    requestId,
    paymentIntent: payment_intent,
    isTimeout: detail instanceof Error && "code" in detail && detail.code === "ETIMEDOUT",
  };
}

/** Whether Stripe does not have what was asked for. */
export function isMissing(error: unknown): boolean {
  const failure = failureOf(error);
  return failure?.status === 404 || failure?.code === "resource_missing";
}

/** A failure in few words, for logs and rows. */
export function describeFailure({ type, code, declineCode, status, requestId }: StripeFailure): string {
  return [type, status, code, declineCode, requestId].filter((part) => part !== undefined).join(" ");
}

/** Why `ask` was refused, in words that may be logged. */
export class StripeRefused extends Error {
  readonly code: string | undefined;
  readonly param: string | undefined;

  constructor(failure: StripeFailure) {
    super(describeFailure(failure));
    this.name = "StripeRefused";
    this.code = failure.code;
    this.param = failure.param;
  }
}

/** Stripe's failures as ours; what is no failure of Stripe stays what it is. */
function providerError(error: unknown): unknown {
  const failure = failureOf(error);
  if (!failure) return error;
  const cause = { cause: new StripeRefused(failure) };
  if (failure.isTimeout) return new AppError("provider_timeout", {}, cause);
  const { status } = failure;
  if (status === undefined || status === 409 || status === 429 || status >= 500) {
    return new AppError("provider_unavailable", { retry_after: 5 }, cause);
  }
  return new AppError("provider_failed", {}, cause);
}
