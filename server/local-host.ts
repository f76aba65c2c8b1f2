import type { BillingVariables } from "../supabase/functions/_shared/billing/variables.ts";
import type { Pool } from "../supabase/functions/_shared/database/pool.ts";
import type { FalVariables } from "../supabase/functions/_shared/providers/variables.ts";
import type { Logger } from "pino";

export interface Installation {
  hostname?: string | undefined;
  databaseUrl?: string | undefined;
  apiUrl?: string | undefined;
  billing?: BillingVariables | undefined;
  fal?: FalVariables | undefined;
  /** The operator's decision; undefined: by the rule. */
  sandbox?: boolean | undefined;
}

/** Whether payments are real. Restricted keys are keys too. */
function sellsForMoney({ billing }: Installation): boolean {
  return /^(sk|rk)_live_/.test(billing?.STRIPE_SECRET_KEY?.trim() ?? "");
}

/**
 * Whether the sandbox may do work that is paid: only where nothing real is configured. Its pictures are charged like real ones, and
 * it would take tasks before the workers that can do them.
 */
export function sandboxRuns(installation: Installation): boolean {
  const { sandbox, fal, databaseUrl } = installation;
  return sandbox ?? !(fal?.FAL_KEY || databaseUrl || sellsForMoney(installation));
}

/**
 * Whether nobody but this machine reaches the host, as far as its settings say: it listens on loopback, under no other address, with
 * its own database, and takes no real money.
 */
export function isLocalInstallation(installation: Installation): boolean {
  const { hostname = "127.0.0.1", databaseUrl, apiUrl } = installation;
  const isReachedHere =
    apiUrl === undefined || (URL.canParse(apiUrl) && isLoopback(new URL(apiUrl).hostname));
  return isLoopback(hostname) && databaseUrl === undefined && isReachedHere && !sellsForMoney(installation);
}

function isLoopback(hostname: string): boolean {
  const name = hostname.toLowerCase().replace(/^\[|\]$/g, "");
  return (
    name === "localhost" ||
    name.endsWith(".localhost") ||
    name === "::1" ||
    /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name)
  );
}

const proxyHeaders = [
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
  "via",
  "cf-connecting-ip",
  "true-client-ip",
];

/** Whether a request shows that it came through a proxy, or was sent to another name than this machine's. */
export function isProxied(headers: Headers): boolean {
  if (proxyHeaders.some((name) => headers.has(name))) return true;
  const url = `http://${headers.get("host") ?? ""}`;
  return !URL.canParse(url) || !isLoopback(new URL(url).hostname);
}

export interface LocalHostMark {
  /** Before a request is served: one that came through a proxy ends that this host counts as local. */
  notice(headers: Headers): Promise<void>;
}

/**
 * Writes down whether this host is local, for the rule of the welcome bonus. Hosts with a database of the operator's are not,
 * whatever an earlier start on that database wrote.
 */
export async function markLocalHost(sql: Pool, isLocal: boolean, log: Logger): Promise<LocalHostMark> {
  const mark = async (value: boolean) => {
    const [known] = await sql<{ is_local_host: boolean }[]>`select is_local_host from public.credit_settings`;
    // Nothing is written where nothing changes: a database that is read-only serves reads.
    if (known?.is_local_host !== value) await sql`update public.credit_settings set is_local_host = ${value}`;
  };
  await mark(isLocal);
  let ending: Promise<unknown> | undefined;
  return {
    async notice(headers) {
      if (!isLocal || (!ending && !isProxied(headers))) return;
      if (!ending) {
        log.warn(
          "a request came through a proxy: this host no longer counts as local, so it gives no welcome bonus",
        );
        // Until it is written, requests wait; a failure is tried again by the next one.
        ending = mark(false).catch((error: unknown) => {
          ending = undefined;
          throw error;
        });
      }
      await ending;
    },
  };
}
