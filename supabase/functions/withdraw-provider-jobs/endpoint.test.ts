import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint, type EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import { accountOf, setStatus } from "../../../test/support/factories.ts";
import type { FalJob } from "../../../test/support/fake-fal.ts";
import { type Run, running } from "../../../test/support/runs.ts";
import { withdrawProviderJobsEndpoint } from "./endpoint.ts";

const price = 6500;
const model = "fal-ai/z-image/turbo";

/** A cancelled run whose job is at FAL. */
async function cancelled(
  under: EndpointUnderTest,
  job: Partial<FalJob> = {},
): Promise<{ run: Run; job: FalJob }> {
  const run = await running(under);
  const submitted: FalJob = {
    requestId: randomUUID(),
    model,
    input: {},
    webhook: undefined,
    steps: ["ended"],
    result: { status: 200, body: {} },
    isCancelled: false,
    isWithdrawn: false,
    timesAsked: 0,
    ...job,
  };
  under.fakeFal.jobs.push(submitted);
  for (const request_id of [undefined, submitted.requestId]) {
    const provider_job = { provider: "fal", model, ...(request_id && { request_id }) };
    await setStatus(under.sql, run.task_id, "In Progress", {
      attempt: run.attempt,
      changes: { provider_job },
    });
  }
  await setStatus(under.sql, run.task_id, "Cancelled");
  return { run, job: submitted };
}

async function nothingIsDue(under: EndpointUnderTest): Promise<void> {
  under.fakeFal.faults = [];
  await under.sql`update provider_withdrawals set expires_at = now() where state = 'open'`;
  await under.sql`select settle_overdue_withdrawals(1000)`;
}

describeEndpoint(withdrawProviderJobsEndpoint, {
  async accepted(under) {
    await nothingIsDue(under);
    return { body: { at_most: 10 }, credentials: under.service };
  },
  cases: {
    "200: a job that waits is withdrawn and free; one that runs or has ended well is charged; one that failed is free":
      async (under) => {
        await nothingIsDue(under);
        const cases: [Partial<FalJob>, number, boolean, boolean][] = [
          [{ steps: [{ queue: 3 }] }, 0, true, true],
          [{ steps: [{ logs: ["50%"] }] }, price, true, false],
          [{ steps: ["ended"] }, price, false, false],
          [{ steps: ["ended"], result: { status: 422, body: { detail: "flagged" } } }, 0, false, false],
          [
            { steps: ["ended"], error: "died", result: { status: 500, body: { detail: "runner died" } } },
            0,
            false,
            false,
          ],
          [
            { steps: [{ state: "FAILED" }], result: { status: 500, body: { detail: "died" } } },
            0,
            false,
            false,
          ],
          // It began between the question and the cancel, and ended.
          [{ steps: [{ queue: 1 }, "ended"] }, price, false, false],
        ];
        for (const [job, cost, isCancelled, isWithdrawn] of cases) {
          const { run, job: submitted } = await cancelled(under, job);
          assert.equal((await accountOf(under.sql, run.person.userId)).held, price);
          const { body } = await under.call({ at_most: 5 }, under.service);
          assert.deepEqual(body, { attempted: 1, settled: 1 }, JSON.stringify(job));
          assert.deepEqual(await accountOf(under.sql, run.person.userId), {
            balance: 100_000_000 - cost,
            held: 0,
          });
          assert.deepEqual(
            [submitted.isCancelled, submitted.isWithdrawn],
            [isCancelled, isWithdrawn],
            JSON.stringify(job),
          );
        }
        assert.deepEqual((await under.call({}, under.service)).body, { attempted: 0, settled: 0 });
        assert.deepEqual([...(await under.sql`select rule, row_id from find_task_faults()`)], []);
      },
    "200: FAL away, busy or silent is asked again; a cancel whose answer was lost is still a withdrawal":
      async (under) => {
        await nothingIsDue(under);
        for (const at of [/\/status/, /\/cancel/]) {
          for (const does of [
            "cut",
            "cut-after",
            "half",
            { status: 503, body: { detail: "busy" } },
            { status: 401, body: {} },
          ] as const) {
            const { run, job } = await cancelled(under, { steps: [{ queue: 3 }] });
            under.fakeFal.faults = [{ at, does }];
            assert.deepEqual((await under.call({}, under.service)).body, { attempted: 1, settled: 0 });
            assert.equal((await accountOf(under.sql, run.person.userId)).held, price);
            assert.deepEqual(
              (await under.call({}, under.service)).body,
              { attempted: 0, settled: 0 },
              "not at once",
            );
            await under.sql`update provider_withdrawals set next_try_at = now() where state = 'open'`;
            assert.deepEqual((await under.call({}, under.service)).body, { attempted: 1, settled: 1 });
            assert.equal(job.isWithdrawn, true);
            assert.deepEqual(await accountOf(under.sql, run.person.userId), {
              balance: 100_000_000,
              held: 0,
            });
          }
        }
      },
    "503 provider_not_configured: no key is set": async (under) => {
      await under.refused("provider_not_configured", {}, under.service, {
        environment: { falQueue: () => undefined },
      });
    },
  },
});
