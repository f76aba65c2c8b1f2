import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint, type EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import { accountOf, claim, setStatus } from "../../../test/support/factories.ts";
import { type FalJob, pictures, startFakeFal } from "../../../test/support/fake-fal.ts";
import { png } from "../../../test/support/png.ts";
import { type Run, running } from "../../../test/support/runs.ts";
import { storageThatFails } from "../../../test/support/storage-that-fails.ts";
import { createStorage } from "../_shared/media/storage.ts";
import { createFalSignatures } from "../_shared/providers/fal-signature.ts";
import { falWebhookEndpoint } from "./endpoint.ts";

const price = 6500;

interface Followed {
  run: Run;
  job: FalJob;
  key: string;
}

/** A run whose job is at FAL; `unnoted`: it ended before it could say which. */
async function followed(
  under: EndpointUnderTest,
  {
    unnoted = false,
    step,
    ...options
  }: { unnoted?: boolean; byOwner?: boolean; step?: number; params?: Record<string, unknown> } = {},
): Promise<Followed> {
  const run = await running(under, options);
  const model = "fal-ai/z-image/turbo";
  const key = randomUUID();
  const job: FalJob = {
    requestId: randomUUID(),
    model,
    input: {},
    webhook: undefined,
    steps: ["ended"],
    result: { status: 200, body: pictures([under.fakeFal.file(`/files/${key}.png`)]) },
    isCancelled: false,
    isWithdrawn: false,
    timesAsked: 0,
  };
  const note = (fields: Record<string, unknown>) =>
    setStatus(under.sql, run.task_id, "In Progress", {
      changes: {
        provider_job: {
          provider: "fal",
          model,
          ...(step !== undefined && { step, completes: false }),
          ...fields,
        },
      },
    });
  if (options.byOwner) {
    await under.sql`insert into provider_jobs (task_id, provider, model, request_id, submitted_at, attempt, by_owner)
      values (${run.task_id}, 'fal', ${model}, ${job.requestId}, now(), 1, true)`;
  } else {
    await note({ webhook_key: key });
    if (!unnoted) await note({ request_id: job.requestId });
  }
  return { run, job, key };
}

function tell(
  under: EndpointUnderTest,
  job: FalJob,
  { query, ...options }: Parameters<EndpointUnderTest["fakeFal"]["news"]>[1] & { query?: string } = {},
) {
  const { body, headers } = under.fakeFal.news(job, options);
  return under.call(body, headers, query ? { query } : {});
}

async function statusOf(under: EndpointUnderTest, taskId: string): Promise<string> {
  const [row] = await under.sql<{ status: string }[]>`select status from tasks where id = ${taskId}`;
  return row?.status ?? "";
}

describeEndpoint(falWebhookEndpoint, {
  async accepted(under) {
    const { job } = await followed(under);
    const { body, headers } = under.fakeFal.news(job);
    return { body: JSON.parse(body) as Record<string, unknown>, credentials: headers };
  },
  cases: {
    "200 completed: the run ends with its picture, once, however often it is told": async (under) => {
      const { run, job } = await followed(under);
      const first = await tell(under, job);
      assert.deepEqual(first.body, { received: true, state: "completed" });
      for (let again = 0; again < 3; again++) assert.equal((await tell(under, job)).body["state"], "over");
      const rows = await under.sql`
        select task.status, variant.params ->> 'seed' as seed, variant.params -> 'has_nsfw_concepts' as flag
          from tasks as task join generation_variants as variant on variant.source_task_id = task.id
         where task.id = ${run.task_id}`;
      assert.deepEqual(
        rows.map((row) => ({ ...row })),
        [{ status: "Complete", seed: "4242", flag: false }],
      );
      const account = await accountOf(under.sql, run.person.userId);
      assert.deepEqual(account, { balance: 100_000_000 - price, held: 0 });
    },
    "200 completed: ten at once, and the run's own completion among them": async (under) => {
      const { run, job } = await followed(under);
      const answers = await Promise.all(Array.from({ length: 10 }, () => tell(under, job)));
      assert.ok(answers.every(({ body }) => ["completed", "over"].includes(String(body["state"]))));
      const [{ count } = { count: 0 }] = await under.sql<{ count: number }[]>`
        select count(*)::int as count from credits_ledger where task_id = ${run.task_id} and type = 'spend'`;
      assert.equal(count, 1);
    },
    "200 completed: all pictures of the job, each a variant of one generation": async (under) => {
      const { run, job } = await followed(under, { params: { prompt: "a", num_images: 3 } });
      const urls = [1, 2, 3].map((colour) =>
        under.fakeFal.file(`/files/${job.requestId}-${colour}.png`, { bytes: png({ colour }) }),
      );
      job.result.body = pictures(urls, [false, false, false]);
      assert.equal((await tell(under, job)).body["state"], "completed");
      const rows = await under.sql`
        select output_index, is_primary, variant_type, params -> 'has_nsfw_concepts' as flag
          from generation_variants where source_task_id = ${run.task_id} order by output_index`;
      assert.deepEqual(
        rows.map((row) => Object.values(row)),
        [
          [0, true, "original", false],
          [1, false, "original", false],
          [2, false, "original", false],
        ],
      );
      const account = await accountOf(under.sql, run.person.userId);
      assert.deepEqual(account, { balance: 100_000_000 - 3 * price, held: 0 });
    },
    "200 completed: a job whose id was never noted is known by the key in its address": async (under) => {
      const { run, job, key } = await followed(under, { unnoted: true });
      for (const query of ["", `?key=${randomUUID()}`, "?key=x"]) {
        assert.equal((await tell(under, job, { query })).body["state"], "unknown", query);
      }
      assert.equal((await tell(under, job, { query: `?key=${key}` })).body["state"], "completed");
      assert.equal(await statusOf(under, run.task_id), "Complete");
    },
    "200 over: a job that failed after an own worker took its task; that run goes on, and the job is not billed":
      async (under) => {
        const { run, job } = await followed(under);
        await setStatus(under.sql, run.task_id, "Queued", { attempt: 1, changes: { given_back: true } });
        // FAL's workers were not seen for two minutes.
        await under.sql`update queue_settings set fal_seen_at = '-infinity'`;
        assert.equal((await claim(under.sql, `gpu-${run.task_id}`))?.task_id, run.task_id);
        job.result = { status: 422, body: { detail: "flagged" } };
        for (let again = 0; again < 2; again++)
          assert.equal((await tell(under, job)).body["state"], again ? "unknown" : "over");
        const [row] = await under.sql`
          select task.status, task.attempt, call.is_billed from tasks as task join provider_calls as call on call.task_id = task.id
           where task.id = ${run.task_id}`;
        assert.deepEqual({ ...row }, { status: "In Progress", attempt: 2, is_billed: false });
        await setStatus(under.sql, run.task_id, "Cancelled");
      },
    "200 failed, requeued: as the job failed; the next run begins another": async (under) => {
      for (const [status, state, expected] of [
        [422, "failed", "Failed"],
        [503, "requeued", "Queued"],
      ] as const) {
        const { run, job } = await followed(under);
        job.result = { status, body: { detail: [{ loc: ["body", "prompt"], msg: "no", type: "bad" }] } };
        assert.equal((await tell(under, job)).body["state"], state);
        const [row] =
          await under.sql`select status, attempts, error_message from tasks where id = ${run.task_id}`;
        assert.deepEqual([row?.["status"], row?.["attempts"]], [expected, expected === "Queued" ? 1 : 0]);
        assert.match(String(row?.["error_message"]), /prompt: no \(bad\)/);
        assert.deepEqual(
          [...(await under.sql`select from provider_jobs where task_id = ${run.task_id}`)],
          [],
        );
        assert.equal((await tell(under, job)).body["state"], "unknown", "it is over");
        const { held } = await accountOf(under.sql, run.person.userId);
        assert.equal(held, expected === "Queued" ? price : 0);
      }
    },
    "200 over: of a cancelled task, and of one that waits for its next run": async (under) => {
      const cancelled = await followed(under);
      await setStatus(under.sql, cancelled.run.task_id, "Cancelled");
      assert.equal((await tell(under, cancelled.job)).body["state"], "over");
      assert.equal(await statusOf(under, cancelled.run.task_id), "Cancelled");

      const requeued = await followed(under);
      await setStatus(under.sql, requeued.run.task_id, "Queued");
      assert.equal((await tell(under, requeued.job)).body["state"], "over");
      assert.equal(await statusOf(under, requeued.run.task_id), "Queued");
      // The next run has the same job, and is ended by it.
      while ((await claim(under.sql, "heir"))?.task_id !== requeued.run.task_id);
      assert.equal((await tell(under, requeued.job)).body["state"], "completed");
      const [row] = await under.sql`select status, attempt from tasks where id = ${requeued.run.task_id}`;
      assert.deepEqual([row?.["status"], row?.["attempt"]], ["Complete", 2]);
    },
    "200 over: cancelled while its picture is fetched; the job ran, so its price is charged": async (
      under,
    ) => {
      const { run, job } = await followed(under);
      under.fakeFal.gate = async (line) => {
        if (line.startsWith("GET /files")) await setStatus(under.sql, run.task_id, "Cancelled");
      };
      assert.equal((await tell(under, job)).body["state"], "over");
      under.fakeFal.gate = () => undefined;
      assert.deepEqual(await accountOf(under.sql, run.person.userId), {
        balance: 100_000_000 - price,
        held: 0,
      });
    },
    "200 unknown, over: another's job, and the run of an owner's worker": async (under) => {
      const { job } = await followed(under);
      const stranger = { ...job, requestId: randomUUID() };
      assert.equal((await tell(under, stranger)).body["state"], "unknown");
      for (const request_id of ["../../x", "a b", "x".repeat(101)]) {
        assert.equal(
          (await tell(under, job, { body: { request_id, gateway_request_id: null } })).body["state"],
          "unknown",
        );
      }
      const owned = await followed(under, { byOwner: true });
      assert.equal((await tell(under, owned.job)).body["state"], "unknown");
      assert.equal(await statusOf(under, owned.run.task_id), "In Progress");
    },
    "200 noted: a job of a task that takes several ends nothing, however it ended; its id is known from then on":
      async (under) => {
        for (const status of [200, 422]) {
          const { run, job, key } = await followed(under, { step: 3, unnoted: true });
          job.result.status = status;
          for (const query of [`?key=${key}`, ""]) {
            assert.equal((await tell(under, job, { query })).body["state"], "noted");
          }
          assert.equal(await statusOf(under, run.task_id), "In Progress");
          const rows = await under.sql<{ step: number; request_id: string }[]>`
            select step, request_id from provider_jobs where task_id = ${run.task_id}`;
          assert.deepEqual(
            rows.map(({ step, request_id }) => [step, request_id]),
            [[3, job.requestId]],
          );
        }
      },
    "200 left: a result that cannot be fetched is the run's to deal with; hostile addresses reach nothing":
      async (under) => {
        const { run, job } = await followed(under);
        const port = new URL(under.fakeFal.url).port;
        for (const body of [
          {},
          pictures(["file:///etc/passwd"]),
          pictures([`http://localhost:${port}/x.png`]),
          pictures([`https://127.0.0.1:${port}/x.png`]),
          pictures([under.fakeFal.file("/files/page.png", { bytes: Buffer.from("<html>") })]),
          pictures([under.fakeFal.file("/files/half.png", { bytes: png().subarray(0, -10) })]),
          pictures([`${under.fakeFal.url}/files/missing.png`]),
        ]) {
          job.result.body = body;
          assert.equal((await tell(under, job)).body["state"], "left");
        }
        assert.equal(await statusOf(under, run.task_id), "In Progress");
        assert.ok(!under.fakeFal.requests.some((line) => line.includes("/x.png")));
      },
    "400 invalid_signature: changed, unsigned, old, early, another's key, another's id": async (under) => {
      const { run, job } = await followed(under);
      const { body, headers } = under.fakeFal.news(job);
      const now = Math.floor(Date.now() / 1000);
      const wrong: [string, Record<string, string>][] = [
        [`${body} `, headers],
        [body.replace('"OK"', '"ERROR"'), headers],
        ...["request-id", "user-id", "timestamp", "signature"].map(
          (name): [string, Record<string, string>] => [
            body,
            Object.fromEntries(Object.entries(headers).filter(([key]) => key !== `x-fal-webhook-${name}`)),
          ],
        ),
        [body, { ...headers, "x-fal-webhook-request-id": randomUUID() }],
        [body, { ...headers, "x-fal-webhook-user-id": "somebody" }],
        [body, { ...headers, "x-fal-webhook-timestamp": String(now - 30) }],
        [body, { ...headers, "x-fal-webhook-signature": "0".repeat(128) }],
        [body, { ...headers, "x-fal-webhook-signature": "zz" }],
        ...[-400, 400].map((seconds): [string, Record<string, string>] => {
          const late = under.fakeFal.news(job, { timestamp: now + seconds });
          return [late.body, late.headers];
        }),
      ];
      for (const [text, sent] of wrong) await under.refused("invalid_signature", text, sent);
      assert.equal(await statusOf(under, run.task_id), "In Progress");
    },
    "200, 400: keys that change are looked up again, and not for every wrong signature": async (under) => {
      const fakeFal = await startFakeFal();
      let now = Date.now();
      const signatures = createFalSignatures({ jwksUrl: fakeFal.variables.FAL_JWKS_URL, now: () => now });
      const policy = { allowPrivate: false, trustedOrigins: [under.fakeFal.url] };
      const environment = { fal: { signatures, policy } };
      const send = async () => {
        const { job } = await followed(under);
        const { body, headers } = fakeFal.news(job, { timestamp: Math.floor(now / 1000) });
        return (await under.call(body, headers, { environment })).status;
      };
      const looks = () => fakeFal.requests.filter((line) => line.includes("jwks")).length;
      const before = looks();
      assert.deepEqual([await send(), await send(), looks() - before], [200, 200, 1]);
      fakeFal.rotateKey();
      assert.deepEqual([await send(), await send(), looks() - before], [400, 400, 1]);
      now += 61_000;
      assert.deepEqual([await send(), await send(), looks() - before], [200, 200, 2]);
      fakeFal.rotateKey({ withdraw: true });
      now += 24 * 60 * 60 * 1000;
      assert.deepEqual([await send(), looks() - before], [200, 3]);
      await fakeFal.close();
    },
    "503 provider_unavailable: FAL's keys cannot be had": async (under) => {
      const { job } = await followed(under);
      const { body, headers } = under.fakeFal.news(job);
      for (const does of [
        { status: 500 },
        { text: "<html>" },
        { status: 200, body: { keys: [] } },
        "cut",
      ] as const) {
        under.fakeFal.faults = [{ at: /jwks/, does }];
        const signatures = createFalSignatures({ jwksUrl: under.fakeFal.variables.FAL_JWKS_URL });
        const environment = { fal: { signatures, policy: { allowPrivate: false } } };
        const answer = await under.refused("provider_unavailable", body, headers, { environment });
        assert.ok(answer.headers.get("retry-after"));
      }
    },
    "503 provider_not_configured: no webhook is switched on": async (under) => {
      const { job } = await followed(under);
      const { body, headers } = under.fakeFal.news(job);
      await under.refused("provider_not_configured", body, headers, { environment: { fal: undefined } });
    },
    "503 storage_unavailable: FAL sends it again": async (under) => {
      const { run, job } = await followed(under);
      const { body, headers } = under.fakeFal.news(job);
      for (const storage of storageThatFails()) {
        await under.refused("storage_unavailable", body, headers, { environment: { storage } });
      }
      assert.equal((await under.call(body, headers)).body["state"], "completed");
      assert.equal(await statusOf(under, run.task_id), "Complete");
    },
    "200 left: storage takes no such file; the run says so and ends": async (under) => {
      const { run, job } = await followed(under);
      const { body, headers } = under.fakeFal.news(job);
      const storage = createStorage({
        publicUrl: "http://darkroom.test",
        serviceKey: "sb_secret_test",
        fetch: () => Promise.resolve(new Response("too large", { status: 413 })),
      });
      assert.equal((await under.call(body, headers, { environment: { storage } })).body["state"], "left");
      assert.equal(await statusOf(under, run.task_id), "In Progress");
    },
    "200 completed: pictures that the safety checker made black come last, flagged, and are not charged":
      async (under) => {
        const { run, job } = await followed(under, { params: { prompt: "a", num_images: 3 } });
        const urls = [1, 2, 3].map((colour) =>
          under.fakeFal.file(`/files/${job.requestId}-${colour}.png`, { bytes: png({ colour }) }),
        );
        job.result.body = pictures(urls, [true, false, true]);
        assert.equal((await tell(under, job)).body["state"], "completed");
        const rows = await under.sql`
        select output_index, is_primary, params -> 'has_nsfw_concepts' as flag, params -> 'blacked_out' as black,
               location like '%_fal_1.png' as is_second
          from generation_variants where source_task_id = ${run.task_id} order by output_index`;
        assert.deepEqual(
          rows.map((row) => Object.values(row)),
          [
            [0, true, false, null, true],
            [1, false, true, true, false],
            [2, false, true, true, false],
          ],
        );
        assert.deepEqual(await accountOf(under.sql, run.person.userId), {
          balance: 100_000_000 - price,
          held: 0,
        });
        const [task] = await under.sql<
          { result_data: { blacked_out: number; warnings: unknown[] } }[]
        >`select result_data from tasks where id = ${run.task_id}`;
        assert.equal(task?.result_data.blacked_out, 2);
        assert.match(
          JSON.stringify(task?.result_data.warnings),
          /made 2 of 3 outputs black; they are not charged/,
        );
      },
    "200 failed: every picture is black; the task fails, costs nothing and shows nothing": async (under) => {
      const { run, job } = await followed(under, { params: { prompt: "a", num_images: 2 } });
      const urls = [1, 2].map((colour) =>
        under.fakeFal.file(`/files/${job.requestId}-${colour}.png`, { bytes: png({ colour }) }),
      );
      job.result.body = pictures(urls, [true, true]);
      assert.equal((await tell(under, job)).body["state"], "failed");
      assert.equal((await tell(under, job)).body["state"], "unknown");
      const [task] = await under.sql`select status, error_message from tasks where id = ${run.task_id}`;
      assert.equal(task?.["status"], "Failed");
      assert.match(String(task["error_message"]), /^blacked_out: /);
      assert.deepEqual(
        [...(await under.sql`select from generation_variants where source_task_id = ${run.task_id}`)],
        [],
      );
      assert.deepEqual(await accountOf(under.sql, run.person.userId), { balance: 100_000_000, held: 0 });
    },
    "200 over: the end of a cancelled run's job decides what it costs": async (under) => {
      for (const [isKnown, status, cost] of [
        [true, 200, price],
        [true, 503, 0],
        [false, 200, price],
      ] as const) {
        const { run, job, key } = await followed(under, { unnoted: !isKnown });
        job.result.status = status;
        await setStatus(under.sql, run.task_id, "Cancelled");
        assert.equal((await accountOf(under.sql, run.person.userId)).held, price);
        assert.equal((await tell(under, job, { query: `?key=${key}` })).body["state"], "over");
        assert.deepEqual(await accountOf(under.sql, run.person.userId), {
          balance: 100_000_000 - cost,
          held: 0,
        });
        assert.equal((await tell(under, job, { query: `?key=${key}` })).body["state"], "over");
        assert.deepEqual(await accountOf(under.sql, run.person.userId), {
          balance: 100_000_000 - cost,
          held: 0,
        });
      }
      assert.deepEqual([...(await under.sql`select rule, row_id from find_task_faults()`)], []);
    },
  },
});
