import { readBillingVariables } from "../billing/variables.ts";
import type { Environment } from "../http/bind.ts";
import { readPromptVariables } from "../prompts/variables.ts";
import { readFalVariables } from "../providers/variables.ts";
import { createEnvironment, type Settings } from "./environment.ts";

/** The part of Deno that entries use; declared here so that one compiler checks both hosts. */
interface DenoRuntime {
  serve(handler: (request: Request) => Promise<Response>): unknown;
  env: { get(name: string): string | undefined };
}

export const Deno = (globalThis as unknown as { Deno: DenoRuntime }).Deno;

let shared: Environment | undefined;

/** The environment of this isolate, made at the first call from the variables that Supabase sets. */
export function environment(): Environment {
  // Few connections: every function has isolates of its own, and all of them share the database.
  shared ??= createEnvironment({ settings: readSettings(), connections: 4 });
  return shared;
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
