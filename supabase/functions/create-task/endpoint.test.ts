import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { Sql } from "postgres";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { queueTask, setStatus } from "../../../test/support/factories.ts";
import { createTaskEndpoint } from "./endpoint.ts";

const order = (project_id: string) => ({
  task_type: "z_image_turbo",
  params: { prompt: "a fox" },
  project_id,
});

/** What calculate-task-cost promises this user for that order. @returns the quote's id */
async function quoteOf(
  sql: Sql,
  userId: string,
  { task_type, params }: ReturnType<typeof order>,
): Promise<string> {
  const [row] = await sql<{ quote: { quote_id: string } }[]>`
    select calculate_task_cost(${userId}, ${task_type}, ${sql.json(params)}) as quote`;
  return row?.quote.quote_id ?? "";
}

/** A dearer price of what is ordered, at once. */
async function publish(sql: Sql, microusd: number): Promise<void> {
  await sql`select publish_price('z_image_turbo', 'per_unit', ${microusd}, '{}', null, 'test', 'another', ${randomUUID()})`;
}

describeEndpoint(createTaskEndpoint, {
  async accepted(under) {
    const person = await under.person();
    const body = { ...order(person.projectId), task_id: randomUUID(), priority: 1, max_attempts: 2 };
    return { body, credentials: person.session };
  },
  cases: {
    "200: one task, or several, for a user, a token and the service": async ({ call, person, service }) => {
      const { projectId, session, token } = await person();
      for (const credentials of [session, (await token(["tasks:write"])).credentials, service]) {
        const one = await call(order(projectId), credentials);
        assert.equal(one.body["status"], "Task queued", one.text);
        assert.equal(one.body["held_microusd"], one.body["upper_bound_microusd"]);
      }
      const batch = await call({ tasks: [order(projectId), order(projectId)] }, session);
      assert.equal((batch.body["task_ids"] as string[]).length, 2);
    },
    "200: the first answer again for the same idempotency key": async ({ call, person }) => {
      const { projectId, session } = await person();
      const headers = { "idempotency-key": randomUUID() };
      const first = await call(order(projectId), session, { headers });
      const second = await call(order(projectId), session, { headers });
      assert.deepEqual(second.body, { ...first.body, deduplicated: true });
    },
    "400 invalid_request: neither or both forms, wrong fields, a key that is too long": async ({
      refused,
      person,
    }) => {
      const { projectId, session } = await person();
      const task = order(projectId);
      for (const body of [
        {},
        { tasks: [] },
        { tasks: Array.from({ length: 101 }, () => task) },
        { ...task, params: undefined },
        { ...task, task_type: "" },
        { ...task, project_id: "mine" },
        { ...task, dependant_on: ["first"] },
        { ...task, priority: 101 },
        { ...task, max_attempts: 0 },
      ]) {
        await refused("invalid_request", body, session);
      }
      const headers = { "idempotency-key": "k".repeat(201) };
      await refused("invalid_request", task, session, { headers });
    },
    "402 insufficient_credits: no cover": async ({ refused, person }) => {
      const { projectId, session } = await person({ balanceMicrousd: 6_499 });
      const { body } = await refused("insufficient_credits", order(projectId), session);
      assert.deepEqual([body["required_microusd"], body["available_microusd"]], [6_500, 6_499]);
      assert.deepEqual([body["required_credits"], body["available_credits"]], [0.65, 0.6499]);
    },
    "200: a quote is the price, whatever it has become since; without one it is today's": async ({
      sql,
      call,
      person,
    }) => {
      const { userId, projectId, session, token } = await person();
      const task = order(projectId);
      const quote_id = await quoteOf(sql, userId, task);
      await publish(sql, 7_000);
      const quoted = await call({ ...task, quote_id }, session);
      const fresh = await call(task, session);
      await publish(sql, 6_500);
      assert.deepEqual(
        [quoted, fresh].map(({ body }) => [body["held_microusd"], body["upper_bound_microusd"]]),
        [
          [6_500, 6_500],
          [7_000, 7_000],
        ],
      );
      assert.equal(Number(fresh.body["price_version"]), Number(quoted.body["price_version"]) + 1);
      // The worker of the same person may use it too.
      const { credentials } = await token(["tasks:write"]);
      assert.equal((await call({ ...task, quote_id }, credentials)).body["held_microusd"], 6_500);
    },
    "402 account_in_debt: until what is owed is paid": async ({ sql, call, refused, person }) => {
      const { userId, projectId, session } = await person({ balanceMicrousd: 10_000 });
      await sql`select take_back_credit(${userId}, 'refund', 15000, ${randomUUID()})`;
      const { body } = await refused("account_in_debt", order(projectId), session);
      assert.deepEqual([body["debt_microusd"], body["debt_credits"]], [5_000, 0.5]);
      await sql`select add_credit(${userId}, 'manual', 11500)`;
      await call(order(projectId), session);
    },
    "402 spend_cap_reached: of the project, whoever asks": async ({
      sql,
      call,
      refused,
      person,
      service,
    }) => {
      const { userId, projectId, session, token } = await person();
      await sql`select set_spend_cap(${userId}, ${projectId}, null, 13000)`;
      for (let turn = 0; turn < 2; turn++) await call(order(projectId), session);
      for (const credentials of [session, (await token()).credentials, service]) {
        const { body } = await refused("spend_cap_reached", order(projectId), credentials);
        assert.deepEqual(
          [body["project_id"], body["cap_credits"], body["committed_microusd"], body["required_microusd"]],
          [projectId, 1.3, 13_000, 6_500],
        );
      }
      const [other] = await sql<{ id: string }[]>`
        insert into projects (user_id, name) values (${userId}, 'another') returning id`;
      await call(order(other?.id ?? ""), session);
    },
    "402 spend_cap_reached: of one token, and of no other": async ({ sql, call, refused, person }) => {
      const { userId, projectId, session, token } = await person();
      const [capped, free] = [await token(), await token()];
      await sql`select set_spend_cap(${userId}, null, ${capped.id}, 6500)`;
      await call(order(projectId), capped.credentials);
      const { body } = await refused("spend_cap_reached", order(projectId), capped.credentials);
      assert.deepEqual([body["token_id"], body["project_id"]], [capped.id, null]);
      for (const credentials of [free.credentials, session]) await call(order(projectId), credentials);
      const [holds] = await sql`
        select count(*)::int as open, sum(amount_microusd)::int as held from credit_holds where user_id = ${userId}`;
      assert.deepEqual({ ...holds }, { open: 3, held: 19_500 });
    },
    "404 quote_not_found: unknown, and somebody else's": async ({ sql, refused, person, service }) => {
      const [owner, other] = [await person(), await person()];
      const task = order(owner.projectId);
      const foreign = await quoteOf(sql, other.userId, task);
      for (const quote_id of [randomUUID(), foreign]) {
        for (const credentials of [owner.session, (await owner.token()).credentials, service]) {
          await refused("quote_not_found", { ...task, quote_id }, credentials);
        }
      }
    },
    "409 quote_expired: after its ten minutes": async ({ sql, refused, person }) => {
      const { userId, projectId, session } = await person();
      const quote_id = await quoteOf(sql, userId, order(projectId));
      await sql`update task_quotes set created_at = now() - interval '11 minutes', expires_at = now() - interval '1 minute'
                 where id = ${quote_id}`;
      const { body } = await refused("quote_expired", { ...order(projectId), quote_id }, session);
      assert.ok(Date.parse(String(body["expired_at"])) < Date.now());
    },
    "422 quote_mismatch: for another type, or other params": async ({ sql, refused, person }) => {
      const { userId, projectId, session } = await person();
      const task = order(projectId);
      const quote_id = await quoteOf(sql, userId, task);
      await refused("quote_mismatch", { ...task, quote_id, task_type: "qwen_image" }, session);
      await refused("quote_mismatch", { ...task, quote_id, params: { prompt: "a hare" } }, session);
    },
    "404 project_not_found: unknown and foreign alike": async ({ refused, person, service }) => {
      const [{ session }, other] = [await person(), await person()];
      for (const project of [randomUUID(), other.projectId]) {
        await refused("project_not_found", order(project), session);
      }
      await refused("project_not_found", order(randomUUID()), service);
      await refused("project_not_found", order("default_project_id"), session);
    },
    "409 task_id_conflict: the id of another task": async ({ call, refused, person }) => {
      const { projectId, session } = await person();
      const task_id = randomUUID();
      await call({ ...order(projectId), task_id }, session);
      await refused("task_id_conflict", { ...order(projectId), task_id, params: {} }, session);
    },
    "409 orchestrator_finished: no child of what is over": async ({ sql, refused, person, service }) => {
      const owner = await person();
      const orchestrator = await queueTask(sql, owner, { taskType: "travel_orchestrator", params: {} });
      await setStatus(sql, orchestrator, "Cancelled");
      const child = { task_type: "travel_segment", params: { orchestrator_task_id_ref: orchestrator } };
      const { body } = await refused("orchestrator_finished", child, service);
      assert.equal(body["orchestrator_status"], "Cancelled");
    },
    "422 unknown_task_type": async ({ refused, person }) => {
      const { projectId, session } = await person();
      const body = { ...order(projectId), task_type: "no_such_type" };
      const answer = await refused("unknown_task_type", body, session);
      assert.equal(answer.body["task_type"], "no_such_type");
    },
    "422 invalid_dependency: missing, foreign, failed": async ({ sql, refused, person }) => {
      const [owner, other] = [await person(), await person()];
      const failed = await queueTask(sql, owner);
      await setStatus(sql, failed, "Failed");
      for (const dependant_on of [randomUUID(), [await queueTask(sql, other)], failed]) {
        await refused("invalid_dependency", { ...order(owner.projectId), dependant_on }, owner.session);
      }
    },
    "422 idempotency_key_reused: another body": async ({ call, refused, person }) => {
      const { projectId, session } = await person();
      const idempotency_key = randomUUID();
      await call({ ...order(projectId), idempotency_key }, session);
      const other = { ...order(projectId), idempotency_key, params: { prompt: "a hare" } };
      await refused("idempotency_key_reused", other, session);
    },
  },
});
