import { execFile } from "node:child_process";
import { hostname } from "node:os";
import { parseArgs, promisify } from "node:util";
import { pino } from "pino";
import { DarkroomClient } from "./client.ts";
import { onNpmGone } from "./on-npm-gone.ts";
import { createSandboxProvider } from "./sandbox/provider.ts";
import { createWorker } from "./worker.ts";

const help = `Runs tasks for Darkroom.

  npm run worker -- [options]

  --url URL           base URL                        (DARKROOM_URL, SUPABASE_URL, or the running host's)
  --token TOKEN       personal access token, or the service key
                                                      (DARKROOM_TOKEN, SUPABASE_SERVICE_ROLE_KEY, or the running host's)
  --worker-id ID      name of this worker             (default: this machine's name)
  --provider NAME     what renders                    (default and only one: sandbox)
  --run-type TYPE     gpu or api                      (default: both)
  --concurrency N     tasks at once                   (default: 1)
  --help
`;

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
if (values.provider !== "sandbox") fail(`There is no provider "${values.provider}"; there is: sandbox.`);
if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 64)
  fail("--concurrency takes 1 to 64.");
if (runType !== undefined && runType !== "gpu" && runType !== "api") fail("--run-type takes gpu or api.");

const log = pino({ level: process.env["LOG_LEVEL"] ?? "info" });
const { url, token } = await target();
const workerId = values["worker-id"] ?? `${hostname()}-sandbox`;
const sandbox = createSandboxProvider();
const worker = createWorker({
  client: new DarkroomClient({ url, token, workerId }),
  providers: [sandbox],
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
log.info({ url, worker_id: workerId, provider: sandbox.name, concurrency }, "worker runs");
try {
  await worker.run();
} catch (error) {
  fail(`${url} refuses this worker's token: ${error instanceof Error ? error.message : String(error)}`);
} finally {
  await sandbox.close();
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

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
