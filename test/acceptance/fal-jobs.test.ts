import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, beforeEach, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { projectPath } from "../../server/migrate.ts";
import {
  booksOf,
  type Person,
  personWithProject,
  post,
  queueTask,
  service,
  stateOf,
  succeed,
} from "../support/calls.ts";
import type { FakeFal } from "../support/fake-fal.ts";
import { type HostUnderTest, startNodeHost } from "../support/hosts.ts";

const price = 6500;

describe("a task that takes three jobs at FAL", () => {
  let host: HostUnderTest;
  let fal: FakeFal;
  let person: Person & { projectId: string };
  const started: ChildProcess[] = [];
  before(async () => {
    host = await startNodeHost();
    fal = host.fakeFal;
  });
  after(() => host?.stop());
  beforeEach(async () => {
    for (const running of started.splice(0)) await kill(running);
    fal.jobs.length = 0;
    Object.assign(fal, { gate: () => undefined, answerGate: () => undefined });
    fal.plan = (job) => (job.steps = ["ended"]);
    person = await personWithProject(host);
  });

  function worker(id: string): ChildProcess {
    const { apiUrl, keys } = host;
    const args = ["--import", "tsx", "test/support/worker-of-three-jobs.ts", apiUrl, keys.serviceRoleKey, id];
    const child = spawn(process.execPath, args, {
      cwd: projectPath(""),
      stdio: "ignore",
      env: { ...process.env, ...fal.variables, FAL_WEBHOOK: `${apiUrl}/functions/v1/fal-webhook` },
    });
    host.atEnd(() => kill(child));
    started.push(child);
    return child;
  }

  /** Kills a worker at its next matching request, before the request takes effect or before it is answered. */
  async function killAt(child: ChildProcess, gate: "gate" | "answerGate", pattern: RegExp): Promise<void> {
    let open: () => void = () => undefined;
    const opening = new Promise<void>((resolve) => (open = resolve));
    const met = new Promise<void>((resolve) => {
      fal[gate] = (line) => {
        if (!pattern.test(line)) return undefined;
        resolve();
        return opening;
      };
    });
    await met;
    await kill(child);
    fal[gate] = () => undefined;
    // A request that was held before it took effect never does.
    if (gate === "answerGate") open();
    // As time does to a worker that is dead.
    await host.sql`update tasks set lease_expires_at = now() - interval '1 second' where status = 'In Progress'`;
  }

  async function ends(taskId: string): Promise<void> {
    await until(async () => (await stateOf(host, taskId)).status === "Complete");
    const { ledger, held } = await booksOf(host, person.userId);
    const spent = ledger.filter(({ type, task_id }) => type === "spend" && task_id === taskId);
    assert.deepEqual([spent.map(({ amount }) => amount), held], [[-price], 0]);
  }

  async function bothAreNoted(taskId: string): Promise<void> {
    await until(async () => {
      const noted =
        await host.sql`select from provider_jobs where task_id = ${taskId} and request_id is not null`;
      return noted.length === 2;
    });
  }

  test("kill -9 while a job is submitted, while one is followed, before the third and at its file: FAL is paid once for each job", async () => {
    const { task_id } = await queueTask(host, person, { max_attempts: 10 });
    // Submitted, and not noted: FAL tells of it.
    await killAt(worker("first"), "answerGate", /^POST \/fal-ai/);
    for (const job of fal.jobs) {
      const { state } = (await (await fal.tell(job)).json()) as { state: string };
      assert.ok(["over", "noted"].includes(state), state);
    }
    await killAt(worker("second"), "answerGate", /\/status/);
    await killAt(worker("third"), "gate", /^POST \/fal-ai/);
    await killAt(worker("fourth"), "answerGate", /^GET \/files/);
    worker("fifth");
    await ends(task_id);
    assert.deepEqual(fal.jobs.map(({ input }) => String(input["prompt"]).split(":")[0]).sort(), [
      "both",
      "left",
      "right",
    ]);
    const status = await succeed(post(host, "get-task-status", { task_id }, person.credentials));
    assert.deepEqual([status["attempt"], status["warnings"]], [5, ["made of two pictures"]]);
    const { data } = await person.client.from("generations").select("params").single();
    assert.deepEqual((data as { params: { warnings: unknown } }).params.warnings, ["made of two pictures"]);
  });

  test("the webhook completes nothing: the run goes on with its further jobs", async () => {
    fal.plan = (job) => (job.steps = [{ logs: [] }]);
    const { task_id } = await queueTask(host, person);
    worker("only");
    await until(() => Promise.resolve(fal.jobs.length === 2));
    await bothAreNoted(task_id);
    for (const job of fal.jobs) {
      assert.deepEqual(await (await fal.tell(job)).json(), { received: true, state: "noted" });
    }
    assert.equal((await stateOf(host, task_id)).status, "In Progress");
    fal.plan = (job) => (job.steps = ["ended"]);
    for (const job of fal.jobs) job.steps = ["ended"];
    await ends(task_id);
    assert.equal(fal.jobs.length, 3);
  });

  test("a cancel withdraws every job at FAL and charges the run once, because one of them runs", async () => {
    fal.plan = (job) => (job.steps = [job.input["prompt"] === "left" ? { queue: 3 } : { logs: [] }]);
    const { task_id } = await queueTask(host, person);
    const child = worker("dead");
    await bothAreNoted(task_id);
    await kill(child);
    await succeed(post(host, "update-task-status", { task_id, status: "Cancelled" }, person.credentials));
    await succeed(post(host, "withdraw-provider-jobs", {}, service(host)));
    await until(() => Promise.resolve(fal.jobs.every(({ isCancelled }) => isCancelled)));
    await until(async () => (await booksOf(host, person.userId)).held === 0);
    const { ledger } = await booksOf(host, person.userId);
    assert.deepEqual(
      ledger.filter(({ type }) => type === "spend").map(({ amount }) => amount),
      [-price],
    );
    const faults = await host.sql`select rule, row_id from find_task_faults()`;
    assert.deepEqual([...faults], []);
  });
});

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 60_000; !(await condition());) {
    assert.ok(Date.now() < deadline, "waited for too long");
    await pause(30);
  }
}
