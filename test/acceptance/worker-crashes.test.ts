import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { projectPath } from "../../server/migrate.ts";
import {
  base64,
  booksOf,
  claim,
  type ClaimedTask,
  claimTask,
  complete,
  personWithProject,
  post,
  queueTask,
  refused,
  service,
  stateOf,
  succeed,
  tokenOf,
} from "../support/calls.ts";
import { hosts, type HostUnderTest, startSecondHost } from "../support/hosts.ts";
import { png } from "../support/png.ts";

interface Beat {
  status: string;
  tasks: { task_id: string; state: string }[];
}

for (const { name, start } of hosts) {
  describe(`workers that crash, on ${name}`, () => {
    let host: HostUnderTest;
    let second: HostUnderTest;
    before(async () => {
      host = await start();
      second = await startSecondHost(host);
      await host.sql`update queue_settings set heartbeat_lease = '1.5 seconds'`;
    });
    after(() => host?.stop());

    test("kill -9 in the middle of a task: another runs it, once; the dead one's output comes too late", async () => {
      const person = await personWithProject(host);
      const { task_id } = await queueTask(host, person);
      const worker = startWorker(host, "doomed");
      await worker.printed(`running ${task_id} 1`);
      // It outlives its lease by heartbeats, while nobody else gets the task.
      const { lease } = await leaseOf(host, task_id);
      await until(async () => (await leaseOf(host, task_id)).lease > lease + 1500);
      assert.equal(await claim(host, service(host), { worker_id: "vulture" }), undefined);

      await worker.kill("SIGKILL");
      const claimed = await claimedByEither(host, second);
      assert.deepEqual([claimed.task_id, claimed.attempt, claimed.attempts], [task_id, 2, 1]);
      assert.deepEqual(await claims(host, second), [], "it is given out once");

      const late = { task_id, worker_id: "doomed", attempt: 1, ...output };
      await refused(post(host, "complete_task", late, service(host)), 409, "stale_attempt");
      await refused(
        post(second, "complete_task", { ...late, attempt: undefined }, service(host)),
        409,
        "stale_attempt",
      );
      await complete(host, service(host), task_id, { worker_id: "heir", attempt: 2 });
      await refused(post(host, "complete_task", late, service(host)), 409, "stale_attempt");
      const { ledger } = await booksOf(host, person.userId);
      assert.equal(ledger.filter(({ type }) => type === "spend").length, 1);
      const { count } = await person.client.from("generations").select("*", { count: "exact", head: true });
      assert.equal(count, 1);
    });

    test("a worker that is told to stop gives its task back; a run that is cancelled is dropped by it", async () => {
      const person = await personWithProject(host);
      const [first, next] = [await queueTask(host, person), await queueTask(host, person)];
      const worker = startWorker(host, "polite");
      await worker.printed(`running ${first.task_id} 1`);
      await succeed(
        post(host, "update-task-status", { task_id: first.task_id, status: "Cancelled" }, person.credentials),
      );
      await worker.printed(`dropped ${first.task_id} 1`);
      await worker.printed(`running ${next.task_id} 1`);
      await worker.kill("SIGTERM");

      const { status, attempts, error_message } = await stateOf(host, next.task_id);
      assert.deepEqual([status, attempts, error_message], ["Queued", 0, "worker stopped"]);
      const [row] = await host.sql`select status from workers where id = 'polite'`;
      assert.equal(row?.["status"], "terminated");
      await claimTask(host, service(host), next.task_id);
      await complete(host, service(host), next.task_id);
    });

    test("two hosts that find the same expired leases at once give each task back once", async () => {
      const people = await Promise.all(Array.from({ length: 5 }, () => personWithProject(host)));
      const lost = new Set<string>();
      for (const person of people) {
        for (let task = 0; task < 5; task++) lost.add((await queueTask(host, person)).task_id);
      }
      for (let task = 0; task < 25; task++) await claim(host, service(host), { worker_id: "gone" });
      await host.sql`update tasks set lease_expires_at = now() - interval '1 second' where worker_id = 'gone'`;

      const found: ClaimedTask[] = [];
      const deadline = Date.now() + 20_000;
      // The timers of the hosts give them back; the rounds after that find nothing.
      for (let empty = 0; empty < 3 && Date.now() < deadline;) {
        const round = await Promise.all(Array.from({ length: 6 }, () => claims(host, second)));
        found.push(...round.flat());
        if (found.length >= lost.size) empty = round.flat().length === 0 ? empty + 1 : 0;
      }
      assert.equal(found.length, 25);
      assert.deepEqual(new Set(found.map(({ task_id }) => task_id)), lost);
      assert.deepEqual(
        new Set(found.map(({ attempt, attempts }) => `${attempt} ${attempts}`)),
        new Set(["2 1"]),
      );
      for (const { task_id, attempt } of found) await complete(host, service(host), task_id, { attempt });
    });

    test("a crashed worker's task is queued at once; after the last attempt it fails, with its dependants", async () => {
      const person = await personWithProject(host);
      const { credentials } = await tokenOf(person);
      const task = await queueTask(host, person);
      const dependant = await queueTask(host, person, { dependant_on: task.task_id });
      for (const [attempt, state] of [
        [1, "stale"],
        [2, "stale"],
        [3, "ended"],
      ] as const) {
        const claimed = await claimTask(host, credentials, task.task_id, { worker_id: "home" });
        assert.deepEqual([claimed.attempt, claimed.attempts], [attempt, attempt - 1]);
        const body = { worker_id: "home", tasks: [{ task_id: task.task_id, attempt }] };
        const alive = await succeed(post<Beat>(host, "worker-heartbeat", body, credentials));
        assert.deepEqual([alive.status, alive.tasks[0]?.state], ["active", "running"]);
        const crashed = { ...body, status: "crashed" };
        const answer = await succeed(post<Beat>(host, "worker-heartbeat", crashed, credentials));
        assert.deepEqual([answer.status, answer.tasks[0]?.state], ["crashed", state]);
      }
      for (const [task_id, reason] of [
        [task.task_id, "worker_crashed"],
        [dependant.task_id, "dependency_failed"],
      ] as const) {
        const { status, error_message } = await stateOf(host, task_id);
        assert.deepEqual([status, error_message], ["Failed", reason]);
      }
      assert.equal((await booksOf(host, person.userId)).held, 0);
    });
  });
}

const output = { filename: "output.png", file_data: base64(png()) };

/** One claim at each host, at once. */
async function claims(host: HostUnderTest, second: HostUnderTest): Promise<ClaimedTask[]> {
  const claimed = await Promise.all(
    [host, second].map((one) => claim(one, service(one), { worker_id: "heir" })),
  );
  return claimed.filter((task) => task !== undefined);
}

/** The one task that either host gives out, when it is there. */
async function claimedByEither(host: HostUnderTest, second: HostUnderTest): Promise<ClaimedTask> {
  let found: ClaimedTask[] = [];
  await until(async () => (found = await claims(host, second)).length > 0);
  const [claimed, other] = found;
  assert.ok(claimed && !other, "both hosts gave it out");
  return claimed;
}

async function leaseOf({ sql }: HostUnderTest, taskId: string): Promise<{ lease: number }> {
  const [row] = await sql<{ lease: number }[]>`
    select extract(epoch from lease_expires_at)::float8 * 1000 as lease from tasks where id = ${taskId}`;
  assert.ok(row);
  return row;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 30_000; !(await condition());) {
    assert.ok(Date.now() < deadline, "waited for too long");
    await pause(50);
  }
}

interface WorkerProcess {
  /** Resolves when this line was printed. */
  printed(line: string): Promise<void>;
  kill(signal: "SIGKILL" | "SIGTERM"): Promise<void>;
}

function startWorker(host: HostUnderTest, workerId: string): WorkerProcess {
  const script = projectPath("test/support/worker-that-hangs.ts");
  const child: ChildProcess = spawn(process.execPath, ["--import", "tsx", script, host.apiUrl, workerId], {
    cwd: projectPath(""),
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, DARKROOM_TOKEN: host.keys.serviceRoleKey },
  });
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => (printed += text));
  }
  async function kill(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }
  host.atEnd(() => kill("SIGKILL"));
  return {
    async printed(line) {
      await until(() => {
        assert.equal(child.exitCode, null, printed);
        return Promise.resolve(printed.split("\n").includes(line));
      });
    },
    kill,
  };
}
