import { createIdentifier } from "../auth/identify.ts";
import { createStripe } from "../billing/stripe.ts";
import { type BillingVariables, checkoutSettings } from "../billing/variables.ts";
import { connect } from "../database/database.ts";
import type { Environment } from "../http/bind.ts";
import { createProcessLimit } from "../limits/process-limit.ts";
import { createStorage } from "../media/storage.ts";
import { consoleLog, type Log } from "../observability/log.ts";
import { createPromptWriter } from "../prompts/prompt-writer.ts";
import type { PromptVariables } from "../prompts/variables.ts";
import { createFalAccess } from "../providers/fal-access.ts";
import { createFalWebhooks } from "../providers/fal-webhook.ts";
import type { FalVariables } from "../providers/variables.ts";
import { createWebhookSender } from "../webhooks/sender.ts";
import { WaitingRoom } from "../waiting/waiting-room.ts";

/** Settings under the names that Supabase gives them. */
export interface Settings extends BillingVariables, PromptVariables, FalVariables {
  SUPABASE_URL: string;
  SUPABASE_DB_URL: string;
  SUPABASE_ANON_KEY?: string | undefined;
  SUPABASE_SERVICE_ROLE_KEY?: string | undefined;
  /** JSON objects `{name: key}`, as Supabase sets them, or comma-separated keys. */
  SUPABASE_PUBLISHABLE_KEYS?: string | undefined;
  SUPABASE_SECRET_KEYS?: string | undefined;
  SUPABASE_JWT_SECRET?: string | undefined;
  /** `on` holds every answer against its contract. */
  DARKROOM_CHECK_ANSWERS?: string | undefined;
  /** `on` lets webhooks go to http and private addresses. */
  DARKROOM_WEBHOOKS_ALLOW_PRIVATE?: string | undefined;
}

export interface EnvironmentOptions {
  settings: Settings;
  /** To the database; see `connect`. */
  connections?: number;
  /** Reaches storage and JWKS in this process instead of over the network. */
  fetch?: typeof fetch;
  log?: Log;
}

export const serviceRequestsPerMinute = 300_000;

export function createEnvironment({
  settings,
  connections,
  fetch,
  log = consoleLog,
}: EnvironmentOptions): Environment {
  const url = settings.SUPABASE_URL.replace(/\/$/, "");
  const serviceKeys = [settings.SUPABASE_SERVICE_ROLE_KEY, ...keyList(settings.SUPABASE_SECRET_KEYS)];
  const publicKeys = [settings.SUPABASE_ANON_KEY, ...keyList(settings.SUPABASE_PUBLISHABLE_KEYS)];
  const present = (keys: (string | undefined)[]) => keys.filter((key): key is string => Boolean(key));
  const storageKey = serviceKeyOf(settings);
  return {
    database: connect({ url: settings.SUPABASE_DB_URL, ...(connections && { connections }) }),
    identifier: createIdentifier({
      serviceKeys: present(serviceKeys),
      publicKeys: present(publicKeys),
      jwtSecret: settings.SUPABASE_JWT_SECRET,
      jwksUrl: `${url}/auth/v1/.well-known/jwks.json`,
      issuer: `${url}/auth/v1`,
      ...(fetch ? { fetch } : {}),
    }),
    storage: createStorage({ publicUrl: url, serviceKey: storageKey, ...(fetch ? { fetch } : {}) }),
    webhooks: createWebhookSender({ allowPrivate: settings.DARKROOM_WEBHOOKS_ALLOW_PRIVATE === "on" }),
    stripe: createStripe(settings),
    promptWriter: createPromptWriter(settings, { log }),
    fal: createFalWebhooks(settings),
    falQueue: createFalAccess(settings),
    // Only the function that runs tasks has them: the others do without the worker's code.
    providerRuns: undefined,
    checkout: checkoutSettings(settings),
    receiptSeller: settings.RECEIPT_SELLER,
    processLimit: createProcessLimit(),
    serviceRequestsPerMinute,
    // Here nobody tells news: requests that wait look by themselves.
    waitingRoom: new WaitingRoom(),
    log,
    checkAnswers: settings.DARKROOM_CHECK_ANSWERS === "on",
  };
}

/** A key under which this installation calls itself. @throws Error when none is set */
export function serviceKeyOf({
  SUPABASE_SERVICE_ROLE_KEY: first,
  SUPABASE_SECRET_KEYS: others,
}: Pick<Settings, "SUPABASE_SERVICE_ROLE_KEY" | "SUPABASE_SECRET_KEYS">): string {
  const key = [first, ...keyList(others)].find(Boolean);
  if (!key) throw new Error("set SUPABASE_SERVICE_ROLE_KEY or SUPABASE_SECRET_KEYS");
  return key;
}

export function keyList(value: string | undefined): string[] {
  if (!value) return [];
  if (!value.trimStart().startsWith("{")) return value.split(",").map((key) => key.trim());
  return Object.values(JSON.parse(value) as Record<string, string>);
}
