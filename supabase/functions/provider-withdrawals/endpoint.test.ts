import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint, type EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import { accountOf, setStatus } from "../../../test/support/factories.ts";
import { type Run, running } from "../../../test/support/runs.ts";
import { providerWithdrawalsEndpoint } from "./endpoint.ts";

const price = 6500;
const model = "fal-ai/z-image/turbo";

interface Answer {
  noted: boolean;
  settled: number;
  withdrawals: { withdrawal_id: string; task_id: string; request_id: string }[];
}

/** A cancelled run with a job; without an id, it ended while it submitted. */
async function cancelled(
  under: EndpointUnderTest,
  { byOwner = false, requestId }: { byOwner?: boolean; requestId?: string } = {},
): Promise<Run> {
  await under.sql`delete from provider_withdrawals`;
  const run = await running(under, { byOwner });
  await under.sql`insert into provider_jobs (task_id, provider, model, request_id, submitted_at, attempt, by_owner)
    values (${run.task_id}, 'fal', ${model}, ${requestId ?? null}, ${requestId ? new Date() : null}, 1, ${byOwner})`;
  await under.sql`select update_task_status(${run.person.userId}, 'user', ${run.task_id}, 'Cancelled')`;
  return run;
}

async function exchange(
  under: EndpointUnderTest,
  credentials: Record<string, string>,
  request: object,
): Promise<Answer> {
  const { status, body, text } = await under.call({ provider: "fal", ...request }, credentials);
  assert.equal(status, 200, text);
  return body as unknown as Answer;
}

describeEndpoint(providerWithdrawalsEndpoint, {
  accepted: (under) => Promise.resolve({ body: { provider: "fal", at_most: 1 }, credentials: under.service }),
  cases: {
    "200: gives a job once, takes what became of it, and settles the run by it": async (under) => {
      const requestId = randomUUID();
      const run = await cancelled(under, { requestId });
      assert.deepEqual((await exchange(under, under.service, {})).withdrawals, [], "none unless asked for");
      const [job] = (await exchange(under, under.service, { at_most: 20 })).withdrawals;
      assert.deepEqual([job?.task_id, job?.request_id], [run.task_id, requestId]);
      assert.deepEqual((await exchange(under, under.service, { at_most: 20 })).withdrawals, []);
      const reports = [{ withdrawal_id: job?.withdrawal_id, outcome: "ran" }];
      assert.equal((await exchange(under, under.service, { reports })).settled, 1);
      assert.equal(
        (await exchange(under, under.service, { reports })).settled,
        0,
        "a repeat changes nothing",
      );
      assert.deepEqual(await accountOf(under.sql, run.person.userId), {
        balance: 100_000_000 - price,
        held: 0,
      });
    },
    "200: a job that was submitted while its task ended is taken up; another attempt's, or another id, is not":
      async (under) => {
        const run = await cancelled(under);
        const submitted = { task_id: run.task_id, attempt: 1, request_id: randomUUID() };
        assert.equal(
          (await exchange(under, under.service, { submitted: { ...submitted, attempt: 2 } })).noted,
          false,
        );
        const answer = await exchange(under, under.service, { submitted, at_most: 20 });
        assert.equal(answer.noted, true);
        assert.equal(answer.withdrawals[0]?.request_id, submitted.request_id);
        assert.equal((await exchange(under, under.service, { submitted })).noted, true, "a repeat");
        const another = { ...submitted, request_id: randomUUID() };
        assert.equal((await exchange(under, under.service, { submitted: another })).noted, false);
      },
    "200: an owner's token sees and settles the jobs of that account's own workers, and no others": async (
      under,
    ) => {
      const run = await cancelled(under, { requestId: randomUUID() });
      const token = (await run.person.token(["tasks:run"])).credentials;
      assert.deepEqual((await exchange(under, token, { at_most: 20 })).withdrawals, []);
      const [cloud] = (await exchange(under, under.service, { at_most: 20 })).withdrawals;
      const reports = [{ withdrawal_id: cloud?.withdrawal_id, outcome: "withdrawn" }];
      assert.equal((await exchange(under, token, { reports })).settled, 0);
      assert.equal((await accountOf(under.sql, run.person.userId)).held, price);

      const requestId = randomUUID();
      const own = await cancelled(under, { byOwner: true, requestId });
      const stranger = (await (await under.person()).token(["tasks:run"])).credentials;
      assert.deepEqual((await exchange(under, stranger, { at_most: 20 })).withdrawals, []);
      assert.deepEqual((await exchange(under, under.service, { at_most: 20 })).withdrawals, []);
      const theirs = (await own.person.token(["tasks:run"])).credentials;
      const { withdrawals } = await exchange(under, theirs, { at_most: 20 });
      assert.deepEqual(
        withdrawals.map(({ request_id }) => request_id),
        [requestId],
      );
      assert.deepEqual(await accountOf(under.sql, own.person.userId), { balance: 100_000_000, held: 0 });
    },
    "200: what is reported as retry comes again; nothing comes after its time": async (under) => {
      const run = await cancelled(under, { requestId: randomUUID() });
      const [job] = (await exchange(under, under.service, { at_most: 20 })).withdrawals;
      const reports = [{ withdrawal_id: job?.withdrawal_id, outcome: "retry" }];
      assert.equal((await exchange(under, under.service, { reports })).settled, 0);
      await under.sql`update provider_withdrawals set next_try_at = now()`;
      assert.equal((await exchange(under, under.service, { at_most: 20 })).withdrawals.length, 1);
      await under.sql`update provider_withdrawals set next_try_at = now(), expires_at = now()`;
      assert.deepEqual((await exchange(under, under.service, { at_most: 20 })).withdrawals, []);
      await under.sql`select settle_overdue_withdrawals()`;
      assert.deepEqual(await accountOf(under.sql, run.person.userId), {
        balance: 100_000_000 - price,
        held: 0,
      });
      await setStatus(under.sql, run.task_id, "Cancelled").catch(() => undefined);
    },
    "403 insufficient_scope: a token that may not run tasks": async (under) => {
      const token = (await (await under.person()).token(["tasks:read"])).credentials;
      await under.refused("insufficient_scope", { provider: "fal" }, token);
    },
  },
});
