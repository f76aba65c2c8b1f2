import { execFile } from "node:child_process";
import { hostname } from "node:os";
import { parseArgs, promisify } from "node:util";
import { pino } from "pino";
import { DarkroomClient } from "../supabase/functions/_shared/worker/client.ts";
import { onNpmGone } from "./on-npm-gone.ts";
import { readFalVariables } from "../supabase/functions/_shared/providers/variables.ts";
import { createFalProvider } from "../supabase/functions/_shared/worker/fal/provider.ts";
import { type Provider, ProviderUnusable } from "../supabase/functions/_shared/worker/provider.ts";
import { createSandboxProvider } from "./sandbox/provider.ts";
import { createWorker } from "../supabase/functions/_shared/worker/worker.ts";

const help = `Runs tasks for Darkroom.

  npm run worker -- [options]

  --url URL           base URL                        (DARKROOM_URL, SUPABASE_URL, or the running host's)
  --token TOKEN       personal access token, or the service key
                                                      (DARKROOM_TOKEN, SUPABASE_SERVICE_ROLE_KEY, or the running host's)
  --worker-id ID      name of this worker             (default: this machine's name; the sandbox's begins with sandbox-)
  --provider NAME     what renders: sandbox, or fal   (default: sandbox; fal needs FAL_KEY, and reads DARKROOM_FAL_RUNS
                                                      and DARKROOM_FAL_AFTER_SECONDS, see docs/fal.md)
  --run-type TYPE     gpu or api                      (default: both)
  --concurrency N     tasks at once                   (default: 1)
  --help
`;

/** What renders, by name; each is told where Darkroom is. */
const providers: Record<string, (url: string) => Provider & { close?(): Promise<void> }> = {
  sandbox: () => createSandboxProvider(),
  fal: (url) => {
    const variables = readFalVariables((name) => process.env[name]);
    if (!variables.FAL_KEY) fail("--provider fal needs FAL_KEY.");
    return createFalProvider({ variables, storageUrls: storageUrls(url) });
  },
};

const { values } = parseArgs({
  options: {
    url: { type: "string" },
    token: { type: "string" },
    "worker-id": { type: "string" },
    provider: { type: "string", default: "sandbox" },
    "run-type": { type: "string" },
    concurrency: { type: "string", default: "1" },
    help: { type: "boolean", default: false },
  },
});

if (values.help) {
  console.log(help);
  process.exit(0);
}
const concurrency = Number(values.concurrency);
const runType = values["run-type"];
const open = Object.hasOwn(providers, values.provider) ? providers[values.provider] : undefined;
if (!open)
  fail(`There is no provider "${values.provider}"; there are: ${Object.keys(providers).join(", ")}.`);
if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 64)
  fail("--concurrency takes 1 to 64.");
if (runType !== undefined && runType !== "gpu" && runType !== "api") fail("--run-type takes gpu or api.");

const log = pino({ level: process.env["LOG_LEVEL"] ?? "info" });
const { url, token } = await target();
const workerId = nameOf(values.provider, values["worker-id"]);
const provider = opened(() => open(url));
const worker = createWorker({
  client: new DarkroomClient({ url, token, workerId }),
  providers: [provider],
  concurrency,
  log,
  ...(runType && { runType }),
});

let stopping = false;
function stop(reason: string): void {
  if (stopping) process.exit(1);
  stopping = true;
  log.info({ reason }, "stopping; once more to force it");
  void worker.stop();
}
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stop(signal));
onNpmGone(() => stop("npm is gone"));
log.info({ url, worker_id: workerId, provider: provider.name, concurrency }, "worker runs");
try {
  await worker.run();
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  fail(error instanceof ProviderUnusable ? message : `${url} refuses this worker's token: ${message}`);
} finally {
  await provider.close?.();
}

/** A provider with its settings; what is wrong with these ends the command. */
function opened<Opened>(open: () => Opened): Opened {
  try {
    return open();
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

/** The sandbox's workers say what they are by their name: their runs count in no statistics of run times. */
function nameOf(provider: string, given: string | undefined): string {
  if (provider !== "sandbox") return given ?? `${hostname()}-${provider}`;
  const name = given ?? hostname();
  return name.startsWith("sandbox-") ? name : `sandbox-${name}`;
}

/** Where to work: as told, else at the host that runs on this machine. */
async function target(): Promise<{ url: string; token: string }> {
  const given = {
    url: values.url ?? process.env["DARKROOM_URL"] ?? process.env["SUPABASE_URL"],
    token: values.token ?? process.env["DARKROOM_TOKEN"] ?? process.env["SUPABASE_SERVICE_ROLE_KEY"],
  };
  if (given.url && given.token) return { url: given.url, token: given.token };
  try {
    const { stdout } = await promisify(execFile)("npm", ["run", "-s", "status"], {
      shell: process.platform === "win32",
    });
    const status = JSON.parse(stdout) as { API_URL: string; SERVICE_ROLE_KEY: string };
    return { url: given.url ?? status.API_URL, token: given.token ?? status.SERVICE_ROLE_KEY };
  } catch (error) {
    log.debug({ err: error }, "no status");
    return fail("No host runs here: give --url and --token, or start one with npm start.");
  }
}

/** As this worker calls Darkroom, and as the outside does. */
function storageUrls(url: string): string[] {
  return [url, process.env["SUPABASE_URL"]].filter((base): base is string => Boolean(base));
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
