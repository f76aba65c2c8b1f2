import type { Environment } from "../http/bind.ts";
import { environment, isolateLife, settings } from "./deno.ts";
import { serviceKeyOf } from "./environment.ts";
import { createProviderRuns, runSeconds } from "./provider-runs.ts";

/** Between the end of a run and the end of its isolate: 150 seconds with the usual run of 100. */
const spareSeconds = 50;

/** The environment of an isolate that runs provider tasks. */
export function environmentWithRuns(): Environment {
  const variables = settings();
  const shared = environment();
  const providerRuns = createProviderRuns({
    variables,
    apiUrl: variables.SUPABASE_URL.replace(/\/$/, ""),
    serviceKey: serviceKeyOf(variables),
    environment: shared,
    life: isolateLife((runSeconds(variables) + spareSeconds) * 1000),
  });
  return { ...shared, providerRuns };
}
