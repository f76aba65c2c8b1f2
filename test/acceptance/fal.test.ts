import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
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
import { type FakeFal, type FalJob, pictures } from "../support/fake-fal.ts";
import { hosts, type HostUnderTest, startSecondHost } from "../support/hosts.ts";
import { png } from "../support/png.ts";

const price = 6500;

for (const { name, start } of hosts) {
  describe(`tasks that run at FAL, on ${name}`, () => {
    let host: HostUnderTest;
    let fal: FakeFal;
    let person: Person & { projectId: string };
    before(async () => {
      host = await start();
      fal = host.fakeFal;
    });
    after(() => host?.stop());
    const started: WorkerProcess[] = [];
    beforeEach(async () => {
      for (const running of started.splice(0)) await running.kill("SIGKILL");
      // What another case left behind is nobody's to claim.
      await host.sql`select end_task(id, 'Cancelled', 'another case') from tasks where status in ('Queued', 'In Progress')`;
      Object.assign(fal, {
        gate: () => undefined,
        answerGate: () => undefined,
        plan: () => undefined,
        faults: [],
        jobs: [],
        requests: [],
      });
      person = await personWithProject(host);
    });

    /** What the worker process decides alone is the same beside any host, and is tested beside one. */
    function testWorker(title: string, run: () => Promise<void>): void {
      if (name === "Node") test(title, run);
    }

    function worker(options: WorkerOptions = {}): WorkerProcess {
      const running = startWorker(host, options);
      started.push(running);
      return running;
    }

    /** The one completion, the one charge, what is left of the hold. */
    async function isPaidOnce(taskId: string, outputs = 1): Promise<void> {
      const { status, error_message } = await stateOf(host, taskId);
      assert.equal(status, "Complete", error_message ?? "");
      const { ledger, held } = await booksOf(host, person.userId);
      const spent = ledger.filter(({ type, task_id }) => type === "spend" && task_id === taskId);
      assert.deepEqual(
        spent.map(({ amount }) => amount),
        [-outputs * price],
      );
      assert.equal(held, 0);
      const { data } = await person.client
        .from("generation_variants")
        .select("id")
        .eq("source_task_id", taskId);
      assert.equal(data?.length, outputs);
    }

    async function ends(taskId: string, expected: string): Promise<void> {
      await until(async () => (await stateOf(host, taskId)).status === expected);
    }

    /** What is noted of a task's job. */
    async function requestIdOf(taskId: string): Promise<string | null | undefined> {
      const [row] = await host.sql<{ id: string | null }[]>`
        select request_id as id from provider_jobs where task_id = ${taskId}`;
      return row?.id;
    }

    /** As time does to a worker that is dead. */
    async function leaseEnds(taskId: string): Promise<void> {
      await host.sql`update tasks set lease_expires_at = now() - interval '1 second' where id = ${taskId} and status = 'In Progress'`;
    }

    test("a task goes to FAL and comes back with its picture, its seed and its flag", async () => {
      fal.plan = (job) => (job.result.body = pictures([fal.file("/files/fox.png")], [false]));
      const { task_id } = await queueTask(host, person);
      const running = worker();
      await ends(task_id, "Complete");
      await isPaidOnce(task_id);
      const { data } = await person.client.from("generations").select("location,params").single();
      const { location, params } = data as { location: string; params: Record<string, unknown> };
      assert.deepEqual([params["seed"], params["has_nsfw_concepts"]], [4242, false]);
      const stored = await fetch(location);
      assert.equal(stored.headers.get("content-type"), "image/png");
      assert.deepEqual(Buffer.from(await stored.arrayBuffer()), Buffer.from(png()));
      await running.kill("SIGTERM");
      assert.doesNotMatch(running.printed(), new RegExp(fal.key), "the key is in no log");
    });

    test("a single image is made by its model's endpoint, and what that does not do is stored with the output", async () => {
      fal.plan = (job) => (job.result.body = pictures([fal.file("/files/owl.png")], [false]));
      const { status, body } = await post(
        host,
        "single-image-generate",
        {
          project_id: person.projectId,
          prompt: "an owl",
          model_name: "FLUX Schnell",
          negative_prompt: "fog",
          resolution: "512x512",
          seed: 3,
          steps: 4,
        },
        person.credentials,
      );
      assert.equal(status, 201);
      const warning = "`negative_prompt` is not used: flux-schnell takes none.";
      assert.deepEqual(
        (body["warnings"] as { message: string }[]).map(({ message }) => message),
        [warning],
      );
      const taskId = String(body["task_id"]);
      const running = worker();
      await ends(taskId, "Complete");
      await running.kill("SIGTERM");
      assert.deepEqual(
        fal.jobs.map(({ model, input }) => [model, input]),
        [
          [
            "fal-ai/flux/schnell",
            {
              prompt: "an owl",
              image_size: { width: 512, height: 512 },
              seed: 3,
              num_inference_steps: 4,
            },
          ],
        ],
      );
      const [row] =
        await host.sql`select cost_microusd::int as cost, warnings from tasks where id = ${taskId}`;
      assert.deepEqual([row?.["cost"], row?.["warnings"]], [8_400, [warning]]);
    });

    testWorker("four pictures are four variants, paid as four; two of three are paid as two", async () => {
      const four = [1, 2, 3, 4].map((colour) => fal.file(`/files/${colour}.png`, { bytes: png({ colour }) }));
      fal.plan = (job) => (job.result.body = pictures(four.slice(0, job.input["num_images"] === 4 ? 4 : 2)));
      const all = await queueTask(host, person, { params: { prompt: "a", num_images: 4 } });
      const fewer = await queueTask(host, person, { params: { prompt: "a", num_images: 3 } });
      assert.deepEqual([all.held_microusd, fewer.held_microusd], [4 * price, 3 * price]);
      const running = worker();
      await ends(all.task_id, "Complete");
      await ends(fewer.task_id, "Complete");
      await running.kill("SIGTERM");
      const { ledger, held } = await booksOf(host, person.userId);
      const spent = ledger
        .filter(({ type }) => type === "spend")
        .map(({ task_id, amount }) => [task_id, amount]);
      assert.deepEqual(
        new Map(spent as [string, number][]),
        new Map([
          [all.task_id, -4 * price],
          [fewer.task_id, -2 * price],
        ]),
      );
      assert.equal(held, 0);
      const { data } = await person.client
        .from("generation_variants")
        .select("location,is_primary")
        .eq("source_task_id", all.task_id);
      const variants = data as { location: string; is_primary: boolean }[];
      assert.deepEqual(variants.map(({ is_primary }) => is_primary).sort(), [false, false, false, true]);
      const bytes = await Promise.all(
        variants.map(async ({ location }) =>
          Buffer.from(await (await fetch(location)).arrayBuffer()).toString("hex"),
        ),
      );
      assert.equal(new Set(bytes).size, 4);
      const faults = await host.sql`select * from find_task_faults()`;
      assert.deepEqual([...faults], []);
    });

    testWorker(
      "kill -9 while the job runs, and again when its picture is fetched: the next worker goes on, FAL is paid once",
      async () => {
        fal.plan = (job) => (job.steps = [{ logs: ["10%"] }]);
        const { task_id } = await queueTask(host, person);
        const first = worker({ id: "first" });
        await until(async () => Boolean(await requestIdOf(task_id)) && (fal.jobs[0]?.timesAsked ?? 0) > 0);
        await first.kill("SIGKILL");
        await leaseEnds(task_id);

        const { opened, gate } = closedGate(/GET \/files/);
        fal.gate = gate;
        for (const job of fal.jobs) job.steps = ["ended"];
        const second = worker({ id: "second" });
        await until(() => Promise.resolve(fal.requests.some((line) => line.startsWith("GET /files"))));
        await second.kill("SIGKILL");
        opened();
        await leaseEnds(task_id);

        const third = worker({ id: "third" });
        await ends(task_id, "Complete");
        await isPaidOnce(task_id);
        assert.equal(fal.jobs.length, 1);
        assert.equal((await stateOf(host, task_id)).attempt, 3);
        await third.kill("SIGTERM");
      },
    );

    test("kill -9 between submitting and noting: with a webhook FAL is paid once, without one twice, the task once", async () => {
      for (const webhook of [true, false]) {
        fal.jobs = [];
        fal.plan = (job) => (job.steps = ["ended"]);
        const { task_id } = await queueTask(host, person);
        const { opened, gate } = closedGate(/^POST \/fal-ai/);
        fal.answerGate = gate;
        const first = worker({ id: "first", webhook });
        await until(() => Promise.resolve(fal.jobs.length === 1));
        assert.equal(await requestIdOf(task_id), null);
        await first.kill("SIGKILL");
        opened();
        await leaseEnds(task_id);
        const second = worker({ id: "second", webhook });
        await until(async () => (await stateOf(host, task_id)).attempt === 2);
        if (webhook) assert.deepEqual(await told(fal, fal.jobs[0]), { received: true, state: "completed" });
        await ends(task_id, "Complete");
        await isPaidOnce(task_id);
        assert.equal(fal.jobs.length, webhook ? 1 : 2);
        await second.kill("SIGTERM");
      }
    });

    testWorker(
      "a worker that is told to stop leaves its job to the next one; no run has failed",
      async () => {
        fal.plan = (job) => (job.steps = [{ logs: [] }]);
        const { task_id } = await queueTask(host, person);
        const first = worker({ id: "first" });
        await until(async () => Boolean(await requestIdOf(task_id)));
        await first.kill("SIGTERM");
        const { status, attempts, error_message } = await stateOf(host, task_id);
        assert.deepEqual([status, attempts, error_message], ["Queued", 0, "worker stopped"]);
        assert.equal(fal.jobs[0]?.isCancelled, false);
        for (const job of fal.jobs) job.steps = ["ended"];
        const second = worker({ id: "second" });
        await ends(task_id, "Complete");
        await isPaidOnce(task_id);
        assert.equal(fal.jobs.length, 1);
        await second.kill("SIGTERM");
      },
    );

    test("a cancelled task's job is withdrawn and free while it waits at FAL, and charged once it runs there", async () => {
      for (const [step, cost] of [
        [{ queue: 9 }, 0],
        [{ logs: ["10%"] }, price],
      ] as const) {
        fal.plan = (job) => (job.steps = ["queue" in step ? step : { logs: [...step.logs] }]);
        person = await personWithProject(host);
        const before = (await booksOf(host, person.userId)).ledger.length;
        const { task_id } = await queueTask(host, person);
        const running = worker();
        await until(async () => Boolean(await requestIdOf(task_id)));
        const body = { task_id, status: "Cancelled" };
        const answer = await succeed(post(host, "update-task-status", body, person.credentials));
        assert.equal((answer["cancellation"] as { state: string }).state, "withdrawing");
        await until(async () => (await booksOf(host, person.userId)).held === 0);
        const { ledger } = await booksOf(host, person.userId);
        assert.deepEqual(
          ledger.filter(({ type }) => type === "spend").map(({ amount }) => amount),
          cost === 0 ? [] : [-cost],
        );
        assert.equal(ledger.length, before + (cost === 0 ? 0 : 1));
        assert.equal(fal.jobs.at(-1)?.isCancelled, true);
        const status = await succeed(post(host, "get-task-status", { task_id }, person.credentials));
        const expected = {
          state: cost === 0 ? "withdrawn" : "ran",
          basis: "provider_job",
          cost_microusd: cost,
        };
        assert.deepEqual(status["cancellation"], expected);
        await running.kill("SIGTERM");
      }
    });

    test("a job whose worker is dead is withdrawn when its task is cancelled: by a call of a timer, or by the next worker", async () => {
      for (const by of ["timer", "worker"]) {
        fal.plan = (job) => (job.steps = [{ queue: 9 }]);
        person = await personWithProject(host);
        const { task_id } = await queueTask(host, person);
        const first = worker({ id: "first" });
        await until(async () => Boolean(await requestIdOf(task_id)));
        await first.kill("SIGKILL");
        await succeed(post(host, "update-task-status", { task_id, status: "Cancelled" }, person.credentials));
        const next = by === "worker" ? worker({ id: "next" }) : undefined;
        if (by === "timer") await succeed(post(host, "withdraw-provider-jobs", {}, service(host)));
        await until(() => Promise.resolve(fal.jobs.at(-1)?.isWithdrawn === true));
        await until(async () => (await booksOf(host, person.userId)).held === 0);
        assert.ok(!(await booksOf(host, person.userId)).ledger.some(({ type }) => type === "spend"));
        await next?.kill("SIGTERM");
      }
    });

    test("pictures that FAL's safety checker made black: some are not charged nor shown first, all of them fail the task", async () => {
      fal.plan = (job) => {
        const urls = [1, 2, 3].map((colour) => fal.file(`/files/${colour}.png`, { bytes: png({ colour }) }));
        job.result.body = pictures(urls, [true, job.input["prompt"] === "all", true]);
      };
      const some = await queueTask(host, person, { params: { prompt: "some", num_images: 3 } });
      const all = await queueTask(host, person, { params: { prompt: "all", num_images: 3 } });
      const running = worker();
      await ends(some.task_id, "Complete");
      await ends(all.task_id, "Failed");
      await running.kill("SIGTERM");
      const { ledger, held } = await booksOf(host, person.userId);
      assert.deepEqual(
        ledger.filter(({ type }) => type === "spend").map(({ task_id, amount }) => [task_id, amount]),
        [[some.task_id, -price]],
      );
      assert.equal(held, 0);
      assert.match((await stateOf(host, all.task_id)).error_message ?? "", /^blacked_out: /);
      const { data } = await person.client
        .from("generation_variants")
        .select("is_primary,params")
        .eq("source_task_id", some.task_id);
      const variants = data as { is_primary: boolean; params: { blacked_out?: boolean } }[];
      assert.deepEqual(
        variants.map(({ is_primary, params }) => [is_primary, params.blacked_out ?? false]).sort(),
        [
          [false, true],
          [false, true],
          [true, false],
        ],
      );
      const status = await succeed(
        post(host, "get-task-status", { task_id: some.task_id }, person.credentials),
      );
      assert.equal(status["blacked_out"], 2);
    });

    testWorker("a result that storage refuses, or that is no picture, is not submitted again", async () => {
      const film = Buffer.concat([Buffer.from("\0\0\0\x18ftypisom"), Buffer.alloc(64)]);
      for (const bytes of [Buffer.from("<html>"), film, png().subarray(0, -10)]) {
        fal.jobs = [];
        fal.plan = (job) => (job.result.body = pictures([fal.file("/files/bad.png", { bytes })]));
        const { task_id } = await queueTask(host, person);
        const running = worker();
        await ends(task_id, "Failed");
        assert.equal(fal.jobs.length, 1);
        await running.kill("SIGTERM");
      }
      assert.ok(!(await booksOf(host, person.userId)).ledger.some(({ type }) => type === "spend"));
    });

    test("the webhook and a worker that asks by itself, in any order, make one completion and one charge", async () => {
      const { opened, gate } = closedGate(/\/status/);
      fal.answerGate = gate;
      fal.plan = (job) => (job.steps = ["ended"]);
      const { task_id } = await queueTask(host, person);
      const running = worker({ webhook: true });
      await until(async () => Boolean(await requestIdOf(task_id)) && fal.jobs[0]?.timesAsked === 1);
      const [job] = fal.jobs;
      assert.match(job?.webhook ?? "", /\/functions\/v1\/fal-webhook\?key=/);
      assert.deepEqual(await told(fal, job), { received: true, state: "completed" });
      opened();
      assert.deepEqual(await told(fal, job), { received: true, state: "over" });
      // It takes the next task, so it has dropped this one.
      const next = await queueTask(host, person);
      await ends(next.task_id, "Complete");
      assert.deepEqual(await told(fal, fal.jobs[1]), { received: true, state: "over" });
      await running.kill("SIGTERM");
      for (const id of [task_id, next.task_id]) await isPaidOnce(id);
      assert.equal(fal.jobs.length, 2);
    });

    test("what is the caller's fault fails at once, with its field; a model that fails is tried three times; nothing is charged", async () => {
      fal.plan = (job) => {
        const isFlagged = job.input["prompt"] === "flagged";
        job.steps = ["ended"];
        job.error = "failed";
        job.result = isFlagged
          ? {
              status: 422,
              body: {
                detail: [
                  { loc: ["body", "prompt"], msg: "flagged by a checker", type: "content_policy_violation" },
                ],
              },
            }
          : { status: 500, body: { detail: "CUDA out of memory" } };
      };
      const flagged = await queueTask(host, person, { params: { prompt: "flagged" } });
      const failing = await queueTask(host, person, { params: { prompt: "too much" } });
      const inside = { prompt: "a", image_url: "http://169.254.169.254/latest/meta-data/" };
      const hostile = await queueTask(host, person, { taskType: "z_image_turbo_i2i", params: inside });
      const running = worker();
      for (const { task_id } of [flagged, failing, hostile]) await ends(task_id, "Failed");
      assert.match(
        (await stateOf(host, flagged.task_id)).error_message ?? "",
        /prompt: flagged by a checker \(content_policy_violation\)/,
      );
      assert.match((await stateOf(host, failing.task_id)).error_message ?? "", /CUDA out of memory/);
      assert.match(
        (await stateOf(host, hostile.task_id)).error_message ?? "",
        /^image_url: the scheme must be https$/,
      );
      assert.equal(fal.jobs.filter(({ input }) => input["prompt"] === "too much").length, 3);
      assert.equal(fal.jobs.length, 4);
      assert.equal(running.child.exitCode, null, "the worker lives");
      await running.kill("SIGTERM");
      const { held, ledger } = await booksOf(host, person.userId);
      assert.deepEqual([held, ledger.some(({ type }) => type === "spend")], [0, false]);
    });

    test("what FAL bills is recorded once a job; a task that would cost more there than it is sold for is not submitted", async () => {
      const publish = (price_microusd: number) => {
        const published = { provider: "fal", model: "fal-ai/z-image/turbo", unit: "job", price_microusd };
        const body = { ...published, reason: "a test", idempotency_key: randomUUID() };
        return succeed(post(host, "publish-provider-price", body, service(host)));
      };
      const costOf = async (taskId: string) => {
        const rows = await host.sql<{ cost: number; jobs: number }[]>`
          select provider_cost_microusd::int as cost, jobs::int from task_provider_costs where task_id = ${taskId}`;
        return rows.map(({ cost, jobs }) => [cost, jobs]);
      };
      await publish(1_000);
      try {
        fal.plan = (job) => {
          if (job.input["prompt"] !== "too much") return;
          job.steps = ["ended"];
          job.error = "failed";
          job.result = { status: 500, body: { detail: "CUDA out of memory" } };
        };
        const paid = await queueTask(host, person);
        const failing = await queueTask(host, person, { params: { prompt: "too much" } });
        const running = worker();
        await ends(paid.task_id, "Complete");
        await ends(failing.task_id, "Failed");
        assert.deepEqual(await costOf(paid.task_id), [[1_000, 1]]);
        assert.deepEqual(await costOf(failing.task_id), [[0, 3]], "FAL does not bill what failed there");

        const submitted = fal.jobs.length;
        await publish(price + 1);
        const dear = await queueTask(host, person, { params: { prompt: "dear" } });
        await ends(dear.task_id, "Failed");
        await until(() => Promise.resolve(running.printed().includes("sold below its cost")));
        assert.equal(fal.jobs.length, submitted);
        assert.match((await stateOf(host, dear.task_id)).error_message ?? "", /^not_available: /);
        const { held, ledger } = await booksOf(host, person.userId);
        assert.deepEqual([held, ledger.some(({ task_id }) => task_id === dear.task_id)], [0, false]);
        const { alerts } = await succeed(
          post<{ alerts: Record<string, unknown>[] }>(host, "list-billing-alerts", {}, service(host)),
        );
        const [alert] = alerts.filter(({ reason }) => reason === "sold_below_cost");
        assert.ok(alert);
        const { provider_cost_microusd, charge_microusd } = alert["details"] as Record<string, unknown>;
        assert.deepEqual([provider_cost_microusd, charge_microusd], [price + 1, price]);
        await running.kill("SIGTERM");
      } finally {
        await publish(0);
      }
    });

    testWorker(
      "a worker whose key is refused says so and ends; its task is not counted as a failed run",
      async () => {
        const { task_id } = await queueTask(host, person);
        const refused = worker({ key: "another" });
        await until(() => Promise.resolve(refused.child.exitCode !== null));
        assert.equal(refused.child.exitCode, 1);
        assert.match(refused.printed(), /FAL refuses this installation \(401\)/);
        assert.doesNotMatch(refused.printed(), new RegExp(fal.key));
        const { status, attempts } = await stateOf(host, task_id);
        assert.deepEqual([status, attempts], ["Queued", 0]);
      },
    );

    test("a picture in the storage of a host that FAL cannot reach is brought to FAL", async () => {
      const path = `${person.userId}/uploads/in.png`;
      const { error } = await person.client.storage
        .from("image_uploads")
        .upload(path, png(), { contentType: "image/png" });
      assert.equal(error, null);
      const { data } = person.client.storage.from("image_uploads").getPublicUrl(path);
      const params = { prompt: "a", image_url: data.publicUrl };
      const { task_id } = await queueTask(host, person, { taskType: "z_image_turbo_i2i", params });
      const running = worker();
      await ends(task_id, "Complete");
      assert.match(String(fal.jobs[0]?.input["image_url"]), /^https:\/\/v3\.fal\.media\//);
      assert.deepEqual(fal.uploaded.at(-1), { bytes: Buffer.from(png()), contentType: "image/png" });
      await running.kill("SIGTERM");
    });

    test("a task goes to an active own worker and not to FAL; when that worker dies during the run, FAL finishes it", async () => {
      const claimed = await post(
        host,
        "claim-next-task",
        { worker_id: "own-1", task_types: ["z_image_turbo"] },
        service(host),
      );
      assert.equal(claimed.status, 204);
      const running = worker();
      await until(async () => (await host.sql`select from workers where provider = 'fal'`).length > 0);
      const { task_id } = await queueTask(host, person);
      const own = await post<{ task_id: string }>(
        host,
        "claim-next-task",
        { worker_id: "own-1", task_types: ["z_image_turbo"], wait_seconds: 20 },
        service(host),
      );
      assert.equal(own.body.task_id, task_id);
      assert.equal(fal.jobs.length, 0);

      await host.sql`
        update workers set last_claim_at = now() - interval '1 hour', last_heartbeat = null where id = 'own-1'`;
      await leaseEnds(task_id);
      await ends(task_id, "Complete");
      await isPaidOnce(task_id);
      assert.equal(fal.jobs.length, 1);
      await running.kill("SIGTERM");
    });

    if (name === "Node") {
      test("a host with FAL's key leaves the types that FAL does not run to other workers, and /ready names them", async () => {
        const second = await startSecondHost(host, { localWorker: true, fal: fal.variables });
        const remote = await queueTask(host, person);
        const left = await queueTask(host, person, { taskType: "wgp" });
        await ends(remote.task_id, "Complete");
        const answer = await fetch(`${second.apiUrl}/ready`);
        const ready = (await answer.json()) as {
          not_served_by_this_host: string[];
          served_by_nothing?: string[];
        };
        assert.equal(answer.status, 200);
        assert.ok(ready.not_served_by_this_host.includes("wgp"));
        assert.ok(!ready.not_served_by_this_host.includes("z_image_turbo"));
        assert.equal(ready.served_by_nothing, undefined, "clients do not show wgp");
        const [task] = await host.sql`select status from tasks where id = ${left.task_id}`;
        assert.equal(task?.["status"], "Queued");
        await host.sql`select end_task(${left.task_id}, 'Cancelled', 'seen')`;
      });

      test("a host with FAL's key and DARKROOM_SANDBOX=on runs FAL's types there, and the others in the sandbox", async () => {
        await startSecondHost(host, { localWorker: true, sandbox: true, fal: fal.variables });
        const remote = await queueTask(host, person);
        const local = await queueTask(host, person, { taskType: "wgp" });
        await ends(remote.task_id, "Complete");
        await ends(local.task_id, "Complete");
        assert.deepEqual(
          fal.jobs.map(({ model }) => model),
          ["fal-ai/z-image/turbo"],
        );
      });
    }
  });
}

/** Holds matching requests until it is opened. */
function closedGate(pattern: RegExp): { opened(): void; gate: (line: string) => Promise<void> | void } {
  let opened: () => void = () => undefined;
  const opening = new Promise<void>((resolve) => (opened = resolve));
  return { opened, gate: (line) => (pattern.test(line) ? opening : undefined) };
}

async function told(fal: FakeFal, job: FalJob | undefined): Promise<unknown> {
  assert.ok(job);
  const response = await fal.tell(job);
  assert.equal(response.status, 200);
  return await response.json();
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 90_000; !(await condition());) {
    assert.ok(Date.now() < deadline, "waited for too long");
    await pause(50);
  }
}

interface WorkerOptions {
  id?: string;
  webhook?: boolean;
  key?: string;
}

interface WorkerProcess {
  child: ChildProcess;
  printed(): string;
  kill(signal: "SIGKILL" | "SIGTERM"): Promise<void>;
}

/** `npm run worker -- --provider fal`, without npm. */
function startWorker(
  host: HostUnderTest,
  { id = "fal", webhook = false, key }: WorkerOptions,
): WorkerProcess {
  const { fakeFal, apiUrl, keys } = host;
  const args = ["--import", "tsx", "worker/cli.ts", "--provider", "fal", "--url", apiUrl, "--worker-id", id];
  const child = spawn(process.execPath, args, {
    cwd: projectPath(""),
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      DARKROOM_TOKEN: keys.serviceRoleKey,
      ...fakeFal.variables,
      ...(key && { FAL_KEY: key }),
      ...(webhook && { FAL_WEBHOOK: `${apiUrl}/functions/v1/fal-webhook` }),
    },
  });
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (printed += text));
  }
  async function kill(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }
  host.atEnd(() => kill("SIGKILL"));
  return { child, printed: () => printed, kill };
}
