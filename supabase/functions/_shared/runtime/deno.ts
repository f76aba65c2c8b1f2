import { readBillingVariables } from "../billing/variables.ts";
import type { Environment } from "../http/bind.ts";
import { readPromptVariables } from "../prompts/variables.ts";
import { readFalVariables } from "../providers/variables.ts";
import { createEnvironment, type Settings } from "./environment.ts";
import type { ProcessLife } from "./provider-runs.ts";

/** The part of Deno that entries use; declared here so that one compiler checks both hosts. */
interface DenoRuntime {
  serve(handler: (request: Request) => Promise<Response>): unknown;
  env: { get(name: string): string | undefined };
}

export const Deno = (globalThis as unknown as { Deno: DenoRuntime }).Deno;

/** What Supabase's edge runtime has beside Deno; absent elsewhere. */
interface EdgeRuntime {
  waitUntil(work: Promise<unknown>): void;
}

const bornAt = Date.now();

let shared: Environment | undefined;

/** The environment of this isolate, made at the first call from the variables that Supabase sets. */
export function environment(): Environment {
  // Few connections: every function has isolates of its own, and all of them share the database.
  shared ??= createEnvironment({ settings: settings(), connections: 4 });
  return shared;
}

/** The settings of this isolate's environment. */
export function settings(): Settings {
  return (read ??= readSettings());
}

let read: Settings | undefined;

/**
 * The life of this isolate, where Supabase's runtime ends it; undefined in another Deno. The runtime ends an isolate after 150
 * seconds (400 on paid plans), whatever requests it has served.
 */
export function isolateLife(lifeMilliseconds: number): ProcessLife | undefined {
  const { EdgeRuntime: edge } = globalThis as unknown as { EdgeRuntime?: EdgeRuntime };
  if (!edge) return undefined;
  const ending = new AbortController();
  globalThis.addEventListener("beforeunload", () => ending.abort());
  return {
    millisecondsLeft: () => bornAt + lifeMilliseconds - Date.now(),
    ending: ending.signal,
    keepAlive: (work) => edge.waitUntil(work),
  };
}

function readSettings(): Settings {
  const required = (name: string): string => {
    const value = Deno.env.get(name);
    if (!value) throw new Error(`${name} is not set`);
    return value;
  };
  return {
    SUPABASE_URL: required("SUPABASE_URL"),
    SUPABASE_DB_URL: required("SUPABASE_DB_URL"),
    SUPABASE_ANON_KEY: Deno.env.get("SUPABASE_ANON_KEY"),
    SUPABASE_SERVICE_ROLE_KEY: Deno.env.get("SUPABASE_SERVICE_ROLE_KEY"),
    SUPABASE_PUBLISHABLE_KEYS: Deno.env.get("SUPABASE_PUBLISHABLE_KEYS"),
    SUPABASE_SECRET_KEYS: Deno.env.get("SUPABASE_SECRET_KEYS"),
    SUPABASE_JWT_SECRET: Deno.env.get("SUPABASE_JWT_SECRET"),
    DARKROOM_CHECK_ANSWERS: Deno.env.get("DARKROOM_CHECK_ANSWERS"),
    DARKROOM_WEBHOOKS_ALLOW_PRIVATE: Deno.env.get("DARKROOM_WEBHOOKS_ALLOW_PRIVATE"),
    ...readBillingVariables((name) => Deno.env.get(name)),
    ...readPromptVariables((name) => Deno.env.get(name)),
    ...readFalVariables((name) => Deno.env.get(name)),
  };
}
