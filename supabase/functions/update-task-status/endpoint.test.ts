import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { complete, queueTask, setStatus } from "../../../test/support/factories.ts";
import { film } from "../../../test/support/film.ts";
import { png } from "../../../test/support/png.ts";
import { running } from "../../../test/support/runs.ts";
import { storageThatFails } from "../../../test/support/storage-that-fails.ts";
import { generateUploadUrl } from "../_shared/media/generate-upload-url.ts";
import { updateTaskStatusEndpoint } from "./endpoint.ts";

describeEndpoint(updateTaskStatusEndpoint, {
  async accepted(under) {
    const { person, task_id, worker } = await running(under, { byOwner: true });
    const { credentials } = await person.token(["tasks:run"]);
    const body = {
      task_id,
      status: "In Progress",
      worker_id: worker,
      attempt: 1,
      progress: 0.5,
      progress_message: "half",
    };
    return { body, credentials };
  },
  cases: {
    "200: progress, the reset of the clock, an orchestrator's text": async (under) => {
      const { task_id } = await running(under);
      for (const change of [
        { progress: 0.25, progress_message: "a quarter" },
        { reset_generation_started_at: true },
        { output_location: "Parallel: 1/2 transitions complete" },
      ]) {
        const { body } = await under.call({ task_id, status: "In Progress", ...change }, under.service);
        assert.deepEqual([body["status"], body["previous_status"]], ["In Progress", "In Progress"]);
        assert.ok(body["lease_expires_at"]);
      }
    },
    "200: every transition that a worker may make": async (under) => {
      for (const status of ["Queued", "Failed", "Cancelled", "Complete"]) {
        const { task_id } = await running(under);
        const { body } = await under.call({ task_id, status, output_location: "text" }, under.service);
        assert.deepEqual([body["status"], body["lease_expires_at"]], [status, null]);
      }
    },
    "200: a report that is sent again is answered as before, also with the owner's token; another is 409":
      async (under) => {
        for (const byOwner of [false, true]) {
          for (const status of ["Queued", "Failed", "Cancelled", "Complete", "In Progress"]) {
            const { person, task_id, worker } = await running(under, { byOwner });
            const credentials = byOwner ? (await person.token(["tasks:run"])).credentials : under.service;
            const report = { task_id, status, worker_id: worker, attempt: 1, error_details: "out of memory" };
            const first = await under.call(report, credentials);
            const again = await under.call(report, credentials);
            assert.equal(first.status, 200, first.text);
            const { lease_expires_at: _first, ...said } = first.body;
            const { lease_expires_at: _again, ...saidAgain } = again.body;
            assert.deepEqual([again.status, saidAgain], [200, said]);
            const other = await under.call({ ...report, worker_id: "another" }, credentials);
            assert.equal(other.status, 409, other.text);
          }
        }
      },
    "200: the text of a complete task is replaced by who completed it": async (under) => {
      const { task_id } = await running(under);
      await complete(under.sql, task_id);
      const { body } = await under.call(
        { task_id, status: "Complete", output_location: "{}" },
        under.service,
      );
      assert.deepEqual([body["status"], body["previous_status"]], ["Complete", "Complete"]);
    },
    "422 invalid_output: Complete with the URL of a file that is not what the task makes": async (under) => {
      const { person, task_id } = await running(under);
      const { storage } = under.environment;
      const path = `${person.userId}/tasks/${task_id}/1-output.png`;
      const body = { task_id, status: "Complete", output_location: storage.publicUrl(path) };
      for (const bytes of [new Uint8Array(0), Buffer.from("<html>"), png().subarray(0, -1), film()]) {
        await storage.upload(path, bytes, "image/png");
        await under.refused("invalid_output", body, under.service);
      }
      const [row] = await under.sql`select status::text, cost_microusd from tasks where id = ${task_id}`;
      assert.deepEqual({ ...row }, { status: "In Progress", cost_microusd: null });
      await storage.upload(path, png(), "image/png");
      assert.equal((await under.call(body, under.service)).body["status"], "Complete");
    },
    "404, 409, 503: Complete with the URL of a file that is not there, not final, or cannot be read": async (
      under,
    ) => {
      const { person, task_id } = await running(under);
      const other = await running(under, { of: person });
      const { storage } = under.environment;
      const complete = (path: string) => ({
        task_id,
        status: "Complete",
        output_location: storage.publicUrl(path),
      });
      const own = `${person.userId}/tasks/${task_id}/1-output.png`;
      const theirs = `${person.userId}/tasks/${other.task_id}/1-output.png`;
      await under.refused("output_not_found", complete(own), under.service);
      await storage.upload(theirs, png(), "image/png");
      await under.refused("output_not_final", complete(theirs), under.service);
      await storage.upload(own, png(), "image/png");
      for (const failing of storageThatFails()) {
        const options = {
          environment: { storage: { ...failing, pathOfPublicUrl: storage.pathOfPublicUrl } },
        };
        await under.refused("storage_unavailable", complete(own), under.service, options);
      }
      const swapping = {
        ...storage,
        async readPart(...part: Parameters<typeof storage.readPart>) {
          const read = await storage.readPart(...part);
          await storage.upload(own, png({ colour: 9 }), "image/png");
          return read;
        },
      };
      const options = { environment: { storage: swapping } };
      await under.refused("output_replaced", complete(own), under.service, options);
      assert.equal((await under.call(complete(own), under.service)).body["status"], "Complete");
    },
    "409 output_replaceable: where storage cannot keep files of finished tasks, one with an upload URL":
      async (under) => {
        const { task_id, attempt } = await running(under);
        const { database, storage } = under.environment;
        const run = { taskId: task_id, attempt, workerId: undefined };
        const file = { filename: "output.png", withThumbnail: false };
        const { storage_path } = await generateUploadUrl(
          { database, storage },
          { kind: "service" },
          run,
          file,
        );
        await storage.upload(storage_path, png(), "image/png");
        const body = { task_id, status: "Complete", output_location: storage.publicUrl(storage_path) };
        await under.sql`alter table storage.objects disable trigger keep_finished_files`;
        await under.refused("output_replaceable", body, under.service);
        await under.sql`alter table storage.objects enable trigger keep_finished_files`;
        assert.equal((await under.call(body, under.service)).body["status"], "Complete");
      },
    "402 insufficient_credits: a retry without cover": async ({ sql, refused, person }) => {
      const owner = await person({ balanceMicrousd: 6_500 });
      const task_id = await queueTask(sql, owner);
      await setStatus(sql, task_id, "Failed");
      await queueTask(sql, owner);
      await refused("insufficient_credits", { task_id, status: "Queued" }, owner.session);
    },
    "402 account_in_debt, spend_cap_reached: a retry is new work": async ({ sql, refused, person }) => {
      const owner = await person({ balanceMicrousd: 100_000 });
      const task_id = await queueTask(sql, owner);
      await setStatus(sql, task_id, "Failed");
      await sql`select set_spend_cap(${owner.userId}, ${owner.projectId}, null, 6499)`;
      await refused("spend_cap_reached", { task_id, status: "Queued" }, owner.session);
      await sql`select take_back_credit(${owner.userId}, 'refund', 100001, null)`;
      await refused("account_in_debt", { task_id, status: "Queued" }, owner.session);
    },
    "403 forbidden: a user's session does a worker's part": async ({ sql, refused, person }) => {
      const owner = await person();
      const task_id = await queueTask(sql, owner);
      for (const status of ["In Progress", "Complete", "Failed", "Queued"]) {
        const { body } = await refused("forbidden", { task_id, status }, owner.session);
        assert.deepEqual(body["allowed"], ["Cancelled", "Queued"]);
      }
    },
    "404 task_not_found: unknown and foreign alike": async (under) => {
      const { task_id } = await running(under);
      const stranger = await under.person();
      for (const id of [randomUUID(), task_id]) {
        const body = { task_id: id, status: "Cancelled" };
        await under.refused("task_not_found", body, stranger.session);
        await under.refused("task_not_found", body, (await stranger.token()).credentials);
      }
    },
    "409 invalid_transition: with where it is, and where it can go": async ({
      sql,
      refused,
      person,
      service,
    }) => {
      const task_id = await queueTask(sql, await person());
      const { body } = await refused("invalid_transition", { task_id, status: "Complete" }, service);
      assert.deepEqual(
        [body["current_status"], body["requested_status"], body["allowed_transitions"]],
        ["Queued", "Complete", ["Failed", "Cancelled"]],
      );
    },
    "409 stale_attempt: another attempt, another worker, another kind of caller": async (under) => {
      const { person, task_id } = await running(under);
      const { credentials } = await person.token();
      const body = { task_id, status: "In Progress", progress: 0.9 };
      await under.refused("stale_attempt", { ...body, attempt: 2 }, under.service);
      await under.refused("stale_attempt", { ...body, worker_id: "other" }, under.service);
      await under.refused("stale_attempt", body, credentials);
    },
    "200: a job at a provider is noted and forgotten, a task given back": async (under) => {
      const { task_id, attempt } = await running(under);
      const body = { task_id, status: "In Progress", attempt };
      const job = { provider: "fal", model: "fal-ai/z-image/turbo" };
      for (const provider_job of [job, { ...job, request_id: `job-of-${task_id}` }]) {
        assert.equal((await under.call({ ...body, provider_job }, under.service)).status, 200);
      }
      const given = { task_id, attempt, status: "Queued", provider_job: null, given_back: true };
      const { body: answer } = await under.call(given, under.service);
      assert.deepEqual([answer["status"], answer["attempts"]], ["Queued", 0]);
      assert.equal((await under.sql`select from provider_jobs where task_id = ${task_id}`).length, 0);
    },
    "200: several jobs are noted by their steps, and one that has ended is forgotten with the run": async (
      under,
    ) => {
      const { task_id, attempt } = await running(under);
      const body = { task_id, status: "In Progress", attempt };
      const job = { provider: "fal", model: "fal-ai/z-image/turbo", units: { images: 1, megapixels: 1.5 } };
      await Promise.all(
        [0, 1, 2].map(async (step) => {
          const note = (more: object) =>
            under.call({ ...body, provider_job: { ...job, step, completes: false, ...more } }, under.service);
          assert.equal((await note({})).status, 200);
          assert.equal((await note({ request_id: `job-${step}-of-${task_id}` })).status, 200);
        }),
      );
      const failed = {
        task_id,
        attempt,
        status: "Queued",
        error_details: "failed",
        ended_provider_steps: [1],
      };
      assert.equal((await under.call(failed, under.service)).body["attempts"], 1);
      const rows = await under.sql<{ step: number; units: unknown; completes: boolean }[]>`
        select step, units, completes from provider_jobs where task_id = ${task_id} order by step`;
      assert.deepEqual(
        rows.map(({ step, units, completes }) => [step, units, completes]),
        [0, 2].map((step) => [step, { images: 1, megapixels: 1.5 }, false]),
      );
    },
    "409 sold_below_cost: a job that costs more than its task is charged fails the task; nothing is charged":
      async (under) => {
        const { task_id, attempt } = await running(under);
        const provider_job = { provider: "fal", model: "fal-ai/nobody-knows", units: { images: 1 } };
        const body = { task_id, status: "In Progress", attempt, provider_job };
        const refused = await under.refused("sold_below_cost", body, under.service);
        assert.deepEqual(
          [refused.body["reason"], refused.body["provider_cost_microusd"]],
          ["provider_price_unknown", null],
        );
        const [row] = await under.sql`
        select status, error_message from tasks where id = ${task_id}`;
        assert.equal(row?.["status"], "Failed");
        assert.match(String(row["error_message"]), /^not_available: /);
        // The task is over: the same call again, and any other.
        await under.refused("invalid_transition", body, under.service);
      },
    "409 unpaid_provider_limit: a task is not begun whose user's tasks have cost too much without a charge":
      async (under) => {
        const { task_id, attempt } = await running(under);
        await under.sql`
          insert into unpaid_provider_costs (user_id, day, unpaid_microusd)
          select user_id, (now() at time zone 'UTC')::date, 2000001 from tasks where id = ${task_id}`;
        const provider_job = { provider: "fal", model: "fal-ai/z-image/turbo", units: { megapixels: 1 } };
        const body = { task_id, status: "In Progress", attempt, provider_job };
        const refused = await under.refused("unpaid_provider_limit", body, under.service);
        assert.deepEqual(
          [refused.body["unpaid_microusd"], refused.body["allowance_microusd"]],
          [2_000_001, 2_000_000],
        );
        const [row] = await under.sql`
          delete from unpaid_provider_costs as counted using tasks as task
           where task.id = ${task_id} and counted.user_id = task.user_id
          returning task.status, task.error_message`;
        assert.equal(row?.["status"], "Failed");
        assert.match(String(row["error_message"]), /^unpaid_provider_limit: /);
      },
    "409 provider_job_open: a second job while the first may still end well": async (under) => {
      const { task_id, attempt } = await running(under);
      const body = { task_id, status: "In Progress", attempt };
      const job = { provider: "fal", model: "fal-ai/z-image/turbo" };
      await under.call({ ...body, provider_job: job }, under.service);
      await under.call({ ...body, provider_job: { ...job, request_id: `first-${task_id}` } }, under.service);
      const { body: refusal } = await under.refused(
        "provider_job_open",
        { ...body, provider_job: job },
        under.service,
      );
      assert.equal((refusal["provider_job"] as { request_id: string }).request_id, `first-${task_id}`);
    },
    "400: a job without the attempt, or with what would lead elsewhere at the provider": async (under) => {
      const { task_id, attempt } = await running(under);
      const job = { provider: "fal", model: "fal-ai/z-image/turbo" };
      const body = { task_id, status: "In Progress", attempt };
      await under.refused("invalid_request", { ...body, attempt: null, provider_job: job }, under.service);
      const steps = { ended_provider_steps: [0] };
      await under.refused("invalid_request", { ...body, attempt: null, ...steps }, under.service);
      await under.refused("invalid_request", { ...body, ended_provider_steps: [64] }, under.service);
      for (const wrong of [
        { model: "../x" },
        { model: "fal-ai" },
        { request_id: "../x" },
        { webhook_key: "x" },
        { step: 64 },
        { step: 0.5 },
        { units: { hours: 1 } },
        { units: { seconds: -1 } },
        { units: { images: "1" } },
        { completes: "no" },
      ]) {
        await under.refused(
          "invalid_request",
          { ...body, provider_job: { ...job, ...wrong } },
          under.service,
        );
      }
    },
    "409 task_cancelled: a worker goes on": async (under) => {
      const { task_id } = await running(under);
      await setStatus(under.sql, task_id, "Cancelled");
      await under.refused("task_cancelled", { task_id, status: "In Progress" }, under.service);
    },
    "422 invalid_dependency: a retry of what waited for a failure": async ({ sql, refused, person }) => {
      const owner = await person();
      const first = await queueTask(sql, owner);
      const task_id = await queueTask(sql, owner, { dependantOn: [first] });
      await setStatus(sql, first, "Failed");
      await refused("invalid_dependency", { task_id, status: "Queued" }, owner.session);
    },
    "422 task_limit_reached: a retry of one task more than may be open": async ({ sql, refused, person }) => {
      const owner = await person();
      const task_id = await queueTask(sql, owner);
      await setStatus(sql, task_id, "Failed");
      await queueTask(sql, owner);
      await sql`update queue_settings set max_open_tasks = 1`;
      try {
        await refused("task_limit_reached", { task_id, status: "Queued" }, owner.session);
      } finally {
        await sql`update queue_settings set max_open_tasks = default`;
      }
    },
  },
});
