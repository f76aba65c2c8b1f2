/** Checks 1 and 2 over HTTP: whoever completes a task, however many at once, it is paid once; credit for 20 makes 20 holds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { bind } from "../../../supabase/functions/_shared/http/bind.ts";
import type { Endpoint } from "../../../supabase/functions/_shared/http/endpoint.ts";
import { completeTaskEndpoint } from "../../../supabase/functions/complete_task/endpoint.ts";
import { createTaskEndpoint } from "../../../supabase/functions/create-task/endpoint.ts";
import { type EnvironmentUnderTest, startEnvironment } from "../../support/environment.ts";
import { accountOf, claim, queueTask } from "../../support/factories.ts";
import { randomFrom, shuffled } from "../../support/orders.ts";

const price = 6_500;

interface Answer {
  status: number;
  body: Record<string, unknown>;
}

async function withEnvironment(run: (under: EnvironmentUnderTest) => Promise<void>): Promise<void> {
  const under = await startEnvironment();
  try {
    await run(under);
  } finally {
    await under.close();
  }
}

/** An endpoint as a function of body and credentials, by the path that requests take. */
function caller(endpoint: Endpoint, { environment, apiUrl }: EnvironmentUnderTest) {
  // A test asks in seconds what comes in hours.
  const contract = { ...endpoint.contract, requestsPerMinute: 1_000_000 };
  const serve = bind({ ...endpoint, contract }, environment);
  return async (body: object, credentials: Record<string, string>): Promise<Answer> => {
    const answer = await serve(
      new Request(`${apiUrl}/functions/v1/${contract.name}`, {
        method: "POST",
        body: JSON.stringify(body),
        headers: { "content-type": "application/json", ...credentials },
      }),
    );
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
}

test("check 1: 64 completes of one task at once, by different tokens, are one spend; x100", (context) =>
  withEnvironment(async (under) => {
    const { sql } = under;
    const complete = caller(completeTaskEndpoint, under);
    const owner = await under.person({ balanceMicrousd: 100 * price });
    const other = await under.person();
    const tokens = await Promise.all(Array.from({ length: 4 }, () => owner.token()));
    const foreign = await other.token();
    const random = randomFrom(1);
    const counts = new Map<string, number>();
    let spent = 0;
    for (let round = 0; round < 100; round++) {
      // Every fifth is run by its owner's machine, and free.
      const isOwners = round % 5 === 4;
      const taskId = await queueTask(sql, owner);
      const claimed = await claim(sql, "worker", isOwners ? owner.userId : undefined);
      assert.equal(claimed?.task_id, taskId);
      const fenced = { worker_id: "worker", attempt: claimed.attempt };
      const late = { worker_id: "worker", attempt: claimed.attempt + 1 };
      const token = (number: number) => tokens[number % tokens.length]?.credentials ?? {};
      const calls = Array.from({ length: 64 }, (_, number) => {
        // Each says another output: whose was taken, all are told.
        const body = { task_id: taskId, output_location: `output ${number}` };
        switch (number % 8) {
          case 0:
          case 1:
            return { kind: "service", body: { ...body, ...fenced }, credentials: under.service };
          case 2:
            return { kind: "service", body, credentials: under.service };
          case 3:
            return { kind: "late", body: { ...body, ...late }, credentials: under.service };
          case 4:
          case 5:
            return { kind: "owner", body: { ...body, ...fenced }, credentials: token(number) };
          case 6:
            return { kind: "owner", body, credentials: token(number) };
          default:
            return { kind: "foreign", body, credentials: foreign.credentials };
        }
      });
      const answers = await Promise.all(
        shuffled(calls, random).map(async ({ kind, body, credentials }) => ({
          kind,
          ...(await complete(body, credentials)),
        })),
      );
      const accepted = answers.filter(({ status }) => status === 200);
      for (const { kind, status, body } of answers) {
        const what =
          kind === (isOwners ? "owner" : "service") ? "accepted" : kind === "foreign" ? "unknown" : "stale";
        assert.deepEqual(
          [what, status],
          [what, { accepted: 200, unknown: 404, stale: 409 }[what]],
          JSON.stringify(body),
        );
        counts.set(what, (counts.get(what) ?? 0) + 1);
      }
      assert.equal(accepted.length, 24);
      for (const { body } of accepted) assert.deepEqual(body, accepted[0]?.body);
      const spends = await sql<{ amount: number }[]>`
        select amount_microusd::int as amount from credits_ledger where task_id = ${taskId}`;
      assert.deepEqual(
        spends.map(({ amount }) => amount),
        isOwners ? [] : [-price],
      );
      spent += isOwners ? 0 : price;
      assert.deepEqual(await accountOf(sql, owner.userId), { balance: 100 * price - spent, held: 0 });
    }
    const [noted] = await sql`select sum(runs)::int as runs from task_run_times`;
    assert.equal(noted?.["runs"], 80, "each in the cloud is known as one run");
    assert.deepEqual([...(await sql`select rule, row_id from find_ledger_faults()`)], []);
    context.diagnostic(
      `6,400 calls: ${[...counts].map(([what, count]) => `${count} ${what}`).join(", ")}; ${spent / price} spends for 80 runs in the cloud`,
    );
  }));

test("check 2: 200 creates at once on credit for 20 are 20 holds and 180 times 402; x10", (context) =>
  withEnvironment(async (under) => {
    const { sql } = under;
    const create = caller(createTaskEndpoint, under);
    const counts = new Map<number, number>();
    for (let round = 0; round < 10; round++) {
      const person = await under.person({ balanceMicrousd: 20 * price + round });
      const body = { project_id: person.projectId, task_type: "z_image_turbo", params: { prompt: "a fox" } };
      const answers = await Promise.all(
        Array.from({ length: 200 }, () => create(body, round % 2 === 0 ? person.session : under.service)),
      );
      for (const { status, body: said } of answers) {
        counts.set(status, (counts.get(status) ?? 0) + 1);
        if (status === 402) assert.equal(said["error"], "insufficient_credits");
      }
      const [rows] = await sql`
        select (select count(*)::int from credit_holds where user_id = ${person.userId} and state = 'held') as holds,
               (select count(*)::int from tasks where user_id = ${person.userId}) as tasks`;
      assert.deepEqual({ ...rows }, { holds: 20, tasks: 20 });
      assert.deepEqual(await accountOf(sql, person.userId), {
        balance: 20 * price + round,
        held: 20 * price,
      });
    }
    assert.deepEqual(Object.fromEntries(counts), { 200: 200, 402: 1_800 });
    assert.deepEqual([...(await sql`select rule, row_id from find_ledger_faults()`)], []);
    context.diagnostic("2,000 creates on credit for 200: 200 holds, 1,800 x 402");
  }));
