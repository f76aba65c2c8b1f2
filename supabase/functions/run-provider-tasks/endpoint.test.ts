import assert from "node:assert/strict";
import { describeEndpoint, type EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import { accountOf, queueTask } from "../../../test/support/factories.ts";
import { type FalJob, pictures } from "../../../test/support/fake-fal.ts";
import type { Environment } from "../_shared/http/bind.ts";
import { createProviderRuns, type ProviderRunsOptions } from "../_shared/runtime/provider-runs.ts";
import { runProviderTasksEndpoint } from "./endpoint.ts";

const body = { wait: true };

/** The endpoint with runs of these options; FAL is asked, for without a webhook nothing else tells of a job's end. */
function withRuns(
  { environment, fakeFal, keys, apiUrl, fetch }: EndpointUnderTest,
  options: Partial<ProviderRunsOptions> = {},
): { environment: Partial<Environment> } {
  const providerRuns = createProviderRuns({
    variables: { ...fakeFal.variables },
    apiUrl,
    serviceKey: keys.serviceRoleKey,
    environment,
    fetch,
    idleMilliseconds: 300,
    ...options,
  });
  return { environment: { providerRuns } };
}

async function emptyQueue({ sql, fakeFal }: EndpointUnderTest): Promise<void> {
  await sql`select end_task(id, 'Cancelled', 'another case') from tasks where status in ('Queued', 'In Progress')`;
  await sql`update provider_withdrawals set expires_at = now() where state = 'open'`;
  await sql`select settle_overdue_withdrawals(1000)`;
  Object.assign(fakeFal, {
    plan: () => undefined,
    gate: () => undefined,
    faults: [],
    jobs: [],
    requests: [],
  });
}

/** A job that is asked how it stands this many times before it ends. */
function slow(under: EndpointUnderTest, questions: number): (job: FalJob) => void {
  return (job) => {
    job.result.body = pictures([under.fakeFal.file("/files/fox.png")]);
    job.steps = [...Array.from({ length: questions }, () => ({ logs: ["10%"] })), "ended"];
  };
}

/** The account was charged what its one task cost. */
async function isChargedOnce({ sql }: EndpointUnderTest, userId: string, taskId: string): Promise<void> {
  const [task] = await sql<{ cost: number }[]>`
    select cost_microusd::int as cost from tasks where id = ${taskId}`;
  assert.ok(task && task.cost > 0);
  assert.deepEqual(await accountOf(sql, userId), { balance: 100_000_000 - task.cost, held: 0 });
}

async function statusesOf({ sql }: EndpointUnderTest, ids: readonly string[]) {
  const rows = await sql<{ status: string; attempts: number; worker_id: string | null }[]>`
    select status, attempts, worker_id from tasks where id = any (${ids as string[]}::uuid[]) order by created_at, id`;
  return rows.map(({ status, attempts }) => [status, attempts]);
}

describeEndpoint(runProviderTasksEndpoint, {
  async accepted(under) {
    await emptyQueue(under);
    return { body: { seconds: 5, wait: true }, credentials: under.service };
  },
  cases: {
    "200: tasks of several users are claimed, run at FAL at the same time, completed and charged once":
      async (under) => {
        await emptyQueue(under);
        const people = [await under.person(), await under.person(), await under.person()];
        const ids = [];
        for (const person of people) ids.push(await queueTask(under.sql, person));
        // None is asked how it stands before all are submitted.
        let left = people.length;
        const submitted = new Promise<void>((resolve) => {
          under.fakeFal.plan = (job) => {
            slow(under, 1)(job);
            if (--left === 0) resolve();
          };
        });
        under.fakeFal.gate = (line) => (line.includes("/status") ? submitted : undefined);
        const answer = await under.call(body, under.service, withRuns(under));
        const { claimed, completed, given_back, failed, started } = answer.body;
        assert.deepEqual([started, claimed, completed, given_back, failed], [true, 3, 3, 0, 0], answer.text);
        assert.deepEqual(
          await statusesOf(under, ids),
          ids.map(() => ["Complete", 0]),
        );
        assert.equal(under.fakeFal.jobs.length, 3);
        for (const [place, { userId }] of people.entries()) {
          await isChargedOnce(under, userId, ids[place] ?? "");
        }
      },
    "200: a run whose time is over gives its tasks back with their jobs; the next goes on with them, and FAL is paid once":
      async (under) => {
        await emptyQueue(under);
        under.fakeFal.plan = slow(under, 5);
        const person = await under.person();
        const id = await queueTask(under.sql, person);
        const first = await under.call({ ...body, seconds: 2 }, under.service, withRuns(under));
        assert.deepEqual(
          [first.body["claimed"], first.body["completed"], first.body["given_back"]],
          [1, 0, 1],
          first.text,
        );
        assert.deepEqual(await statusesOf(under, [id]), [["Queued", 0]]);
        assert.deepEqual(
          [...(await under.sql`select status from workers where id like 'fal-function-%'`)],
          [{ status: "terminated" }],
        );
        // With a key of the new kind as well, which is known in another header.
        const serviceKey = under.keys.secretKey;
        const second = await under.call(body, under.service, withRuns(under, { serviceKey }));
        assert.deepEqual([second.body["claimed"], second.body["completed"]], [1, 1], second.text);
        assert.deepEqual(await statusesOf(under, [id]), [["Complete", 0]]);
        assert.equal(under.fakeFal.jobs.length, 1, "submitted once");
        await isChargedOnce(under, person.userId, id);
      },
    "200: two runs at the same time claim under different names, and no task twice": async (under) => {
      await emptyQueue(under);
      under.fakeFal.plan = slow(under, 1);
      const ids = [];
      for (let turn = 0; turn < 4; turn++) ids.push(await queueTask(under.sql, await under.person()));
      const runs = { variables: { ...under.fakeFal.variables, FAL_CONCURRENCY: "2" } };
      const answers = await Promise.all(
        [1, 2].map(() => under.call(body, under.service, withRuns(under, runs))),
      );
      const names = new Set(answers.map((answer) => answer.body["worker_id"]));
      assert.equal(names.size, 2, "two names");
      assert.equal(
        answers.reduce((sum, answer) => sum + Number(answer.body["completed"]), 0),
        4,
      );
      assert.equal(under.fakeFal.jobs.length, 4);
      assert.deepEqual(
        await statusesOf(under, ids),
        ids.map(() => ["Complete", 0]),
      );
    },
    "200: nothing is started beyond the runs that may be at the same time, nor in a process that is about to end":
      async (under) => {
        await emptyQueue(under);
        await under.sql`
          insert into workers (id, status, last_heartbeat, heartbeats)
          select 'fal-function-' || place, 'active', now(), true from generate_series(1, 4) as place
          on conflict (id) do update set status = 'active', last_heartbeat = now()`;
        const busy = await under.call(body, under.service, withRuns(under));
        assert.deepEqual([busy.status, busy.body["started"], busy.body["worker_id"]], [200, false, null]);
        // One of them was killed: its name is free again.
        await under.sql`update workers set last_heartbeat = now() - interval '3 minutes' where id = 'fal-function-3'`;
        const next = await under.call(body, under.service, withRuns(under));
        assert.deepEqual([next.body["started"], next.body["worker_id"]], [true, "fal-function-3"]);
        await under.sql`update workers set status = 'terminated' where id like 'fal-function-%'`;
        const life = {
          millisecondsLeft: () => 20_000,
          ending: new AbortController().signal,
          keepAlive: () => undefined,
        };
        const late = await under.call(body, under.service, withRuns(under, { life }));
        assert.deepEqual([late.status, late.body["started"]], [200, false]);
      },
    "202: where the process lives on after an answer, the run goes on; when the process ends, tasks are given back":
      async (under) => {
        await emptyQueue(under);
        const submitted = new Promise<void>((resolve) => {
          under.fakeFal.plan = (job) => {
            slow(under, 1000)(job);
            resolve();
          };
        });
        const id = await queueTask(under.sql, await under.person());
        const ending = new AbortController();
        let work: Promise<unknown> | undefined;
        const life = {
          millisecondsLeft: () => 140_000,
          ending: ending.signal,
          keepAlive: (kept: Promise<unknown>) => void (work = kept),
        };
        const variables = { ...under.fakeFal.variables, FAL_RUN_SECONDS: "8" };
        const answer = await under.call({}, under.service, withRuns(under, { life, variables }));
        assert.deepEqual([answer.status, answer.body["started"]], [202, true]);
        await submitted;
        ending.abort();
        assert.ok(work);
        await work;
        assert.deepEqual(await statusesOf(under, [id]), [["Queued", 0]]);
        const [noted] = await under.sql<{ id: string }[]>`
          select request_id as id from provider_jobs where task_id = ${id}`;
        assert.deepEqual(
          [noted?.id],
          under.fakeFal.jobs.map(({ requestId }) => requestId),
        );
      },
    "503 provider_not_configured: without a key; pg_cron asks again in ten minutes": async (under) => {
      await under.refused("provider_not_configured", body, under.service, withRuns(under, { variables: {} }));
      const [runner] = await under.sql<{ task_types: string[]; minutes: number }[]>`
        select task_types, round(extract(epoch from next_call_at - now()) / 60)::int as minutes from provider_runners`;
      assert.deepEqual({ ...runner }, { task_types: [], minutes: 10 });
    },
    "503 provider_unavailable: FAL refuses the key; no run has failed, and pg_cron pauses": async (under) => {
      await emptyQueue(under);
      const id = await queueTask(under.sql, await under.person());
      const variables = { ...under.fakeFal.variables, FAL_KEY: "another:key" };
      await under.refused("provider_unavailable", body, under.service, withRuns(under, { variables }));
      assert.deepEqual(await statusesOf(under, [id]), [["Queued", 0]]);
      const [runner] = await under.sql<{ minutes: number }[]>`
        select round(extract(epoch from next_call_at - now()) / 60)::int as minutes from provider_runners`;
      assert.equal(runner?.minutes, 10);
    },
  },
});
