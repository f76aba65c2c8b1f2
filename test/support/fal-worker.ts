import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { projectPath } from "../../server/migrate.ts";
import { DarkroomClient } from "../../supabase/functions/_shared/worker/client.ts";
import { createFalProvider } from "../../supabase/functions/_shared/worker/fal/provider.ts";
import type { FalRecipe } from "../../supabase/functions/_shared/worker/fal/recipe.ts";
import { falRecipes } from "../../supabase/functions/_shared/worker/fal/recipes.ts";
import { createWorker, type Worker } from "../../supabase/functions/_shared/worker/worker.ts";
import type { FakeFal } from "./fake-fal.ts";
import type { HostUnderTest } from "./hosts.ts";
import { ended } from "./sandbox.ts";
import { type Row, type Studio, taskOf } from "./studio.ts";

const silent = { info: () => undefined, warn: () => undefined };

/** A job at FAL, with the task and the step that it was submitted for. */
export interface SubmittedStep {
  taskId: string;
  taskType: string;
  step: number;
  requestId: string;
}

/** FAL's worker beside a host that has no worker of its own: nothing else runs tasks. */
export class FalWorkerUnderTest {
  readonly host: HostUnderTest;
  readonly fal: FakeFal;
  readonly steps: SubmittedStep[] = [];

  constructor(host: HostUnderTest) {
    this.host = host;
    this.fal = host.fakeFal;
  }

  async close(): Promise<void> {
    await this.host.stop();
  }

  /** As many lanes as a user may run tasks at once. */
  startWorker({ concurrency = 5, workerId = `fal-${randomUUID()}` } = {}): Worker {
    const { apiUrl, keys } = this.host;
    const client = new DarkroomClient({ url: apiUrl, token: keys.serviceRoleKey, workerId });
    const provider = createFalProvider({
      variables: this.fal.variables,
      storageUrls: [apiUrl],
      // Names of inputs lead somewhere public, without a network.
      resolve: (name) => Promise.resolve([name === "127.0.0.1" ? name : "93.184.215.14"]),
      pace: { pollSeconds: 0.01, longestPollSeconds: 0.05, patienceSeconds: 5 },
      recipes: this.#noting(falRecipes),
    });
    const worker = createWorker({ client, providers: [provider], log: silent, concurrency });
    void worker.run();
    return worker;
  }

  /** Runs tasks to their ends; their rows. */
  async run(studio: Studio, ...ids: string[]): Promise<Row[]> {
    const worker = this.startWorker();
    try {
      await Promise.all(ids.map((id) => ended(studio, id)));
    } finally {
      await worker.stop();
    }
    return await Promise.all(ids.map((id) => taskOf(studio, id)));
  }

  /** The same recipes; what they submit is noted with its task and step. */
  #noting(recipes: Record<string, FalRecipe>): Record<string, FalRecipe> {
    return Object.fromEntries(
      Object.entries(recipes).map(([type, recipe]): [string, FalRecipe] => [
        type,
        (task, jobs, context) => {
          const noted = new Proxy(jobs, {
            get: (target, name) => {
              if (name !== "run") {
                const value: unknown = Reflect.get(target, name, target);
                return typeof value === "function" ? (value.bind(target) as unknown) : value;
              }
              const run: typeof jobs.run = async (step, request) => {
                const result = await target.run(step, request);
                const { requestId } = result;
                this.steps.push({ taskId: task.task_id, taskType: task.task_type, step, requestId });
                return result;
              };
              return run;
            },
          });
          return recipe(task, noted, context);
        },
      ]),
    );
  }
}

export interface FalProcess {
  child: ChildProcess;
  kill(signal: "SIGKILL" | "SIGTERM"): Promise<void>;
}

/** FAL's worker as a process of its own, which can be killed: `npm run worker -- --provider fal`, without npm. */
export function startFalProcess(host: HostUnderTest, workerId: string): FalProcess {
  const { fakeFal, apiUrl, keys } = host;
  const args = [
    "--import",
    "tsx",
    "worker/cli.ts",
    "--provider",
    "fal",
    "--url",
    apiUrl,
    "--worker-id",
    workerId,
  ];
  const env = {
    ...process.env,
    LOG_LEVEL: "silent",
    DARKROOM_TOKEN: keys.serviceRoleKey,
    ...fakeFal.variables,
  };
  const child = spawn(process.execPath, args, { cwd: projectPath(""), stdio: "ignore", env });
  async function kill(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }
  host.atEnd(() => kill("SIGKILL"));
  return { child, kill };
}
