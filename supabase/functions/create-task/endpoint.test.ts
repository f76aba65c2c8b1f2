import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { type Sql } from "../_shared/database/sql.ts";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { accountOf, queueTask, setStatus } from "../../../test/support/factories.ts";
import { familyCases, makeRows, type RowIds, withRows } from "../../../test/support/family-fixtures.ts";
import { randomFrom, shuffled } from "../../../test/support/orders.ts";
import { createTaskEndpoint } from "./endpoint.ts";

const order = (project_id: string) => ({
  task_type: "z_image_turbo",
  params: { prompt: "a fox" },
  project_id,
});

const images = (project_id: string, input: object = {}) => ({
  family: "image_generation",
  project_id,
  input: { prompts: ["a fox", "an owl"], model_name: "z-image", ...input },
});

const travel = (project_id: string, input: object = {}) => ({
  family: "travel_between_images",
  project_id,
  input: {
    image_urls: ["https://media.example/1.png", "https://media.example/2.png"],
    base_prompts: ["a walk"],
    segment_frames: [61],
    ...input,
  },
});

/** Everything that a create makes in a project, and holds on its owner's account. */
async function made(sql: Sql, { projectId, userId }: { projectId: string; userId: string }) {
  const [counts] = await sql`
    select (select count(*)::int from tasks where project_id = ${projectId}) as tasks,
           (select count(*)::int from generations where project_id = ${projectId}) as generations,
           (select count(*)::int from shot_generations join shots on shots.id = shot_id where project_id = ${projectId}) as places,
           (select count(*)::int from credit_holds where user_id = ${userId}) as holds,
           (select count(*)::int from task_requests where user_id = ${userId}) as requests`;
  return { ...counts };
}

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
  await sql`select publish_price('z_image_turbo', 'per_unit', ${microusd}, '{"megapixels": {"included": 1, "each": 1}}', null,
                             'test', 'another', ${randomUUID()})`;
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
    "422 task_limit_reached: names the limit, its value and what to do": async ({
      sql,
      call,
      refused,
      person,
    }) => {
      const { projectId, session } = await person();
      await sql`update queue_settings set max_open_tasks = 1`;
      try {
        assert.equal((await call(order(projectId), session)).status, 200);
        const { body } = await refused("task_limit_reached", order(projectId), session);
        assert.equal(body["limit_name"], "max_open_tasks");
        assert.equal(body["limit"], 1);
        assert.match(String(body["message"]), /^An account may have at most 1 open tasks/);
      } finally {
        await sql`update queue_settings set max_open_tasks = default`;
      }
    },
    "422 unknown_task_type": async ({ refused, person }) => {
      const { projectId, session } = await person();
      const body = { ...order(projectId), task_type: "no_such_type" };
      const answer = await refused("unknown_task_type", body, session);
      assert.equal(answer.body["task_type"], "no_such_type");
    },
    "422 unpriced_value: a value without a price, with what is allowed; contradicting_values: two that are not the same":
      async ({ refused, person }) => {
        const { projectId, session } = await person();
        const upscale = (params: object) => ({ ...order(projectId), task_type: "image-upscale", params });
        const { body } = await refused("unpriced_value", upscale({ image: "x", scale: 9 }), session);
        assert.deepEqual(
          [body["parameter"], body["value"], body["allowed"]],
          ["scale", "9x", ["2x", "4x", "8x"]],
        );
        await refused("contradicting_values", upscale({ image: "x", scale: 8, scale_factor: 2 }), session);
      },
    "200: what the model of a single_image does not do is a warning of its task; unknown models are refused":
      async ({ call, refused, person }) => {
        const { projectId, session } = await person();
        const picture = (params: object) => ({
          ...order(projectId),
          task_type: "single_image",
          params: { prompt: "a fox", ...params },
        });
        const lacking = picture({ model: "flux-pro", orchestrator_details: { negative_prompt: "fog" } });
        const one = await call(lacking, session);
        const warnings = [
          {
            code: "not_supported",
            field: "negative_prompt",
            message: "`negative_prompt` is not used: flux-pro takes none.",
          },
        ];
        assert.deepEqual(one.body["warnings"], warnings, one.text);
        const several = await call({ tasks: [picture({}), lacking] }, session);
        const tasks = several.body["tasks"] as Record<string, unknown>[];
        assert.deepEqual(
          tasks.map((task) => task["warnings"]),
          [undefined, warnings],
        );
        const unknown = await refused("unpriced_value", picture({ model_name: "dall-e-3" }), session);
        assert.ok((unknown.body["allowed"] as string[]).includes("optimised-t2i"));
        const tasksWithLarge = { tasks: [picture({}), picture({ resolution: "64x4096" })] };
        const large = await refused("unsupported_by_model", tasksWithLarge, session);
        assert.equal(large.body["task"], 1);
      },
    "422 invalid_dependency: missing, foreign, failed": async ({ sql, refused, person }) => {
      const [owner, other] = [await person(), await person()];
      const failed = await queueTask(sql, owner);
      await setStatus(sql, failed, "Failed");
      for (const dependant_on of [randomUUID(), [await queueTask(sql, other)], failed]) {
        await refused("invalid_dependency", { ...order(owner.projectId), dependant_on }, owner.session);
      }
    },
    "422 invalid_dependency: a cycle within a batch, which is named; nothing is created": async ({
      sql,
      refused,
      person,
    }) => {
      const owner = await person();
      const before = await made(sql, owner);
      const [a, b, c, d] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
      const task = (task_id: string, ...dependant_on: string[]) => ({
        ...order(owner.projectId),
        task_id,
        ...(dependant_on.length > 0 && { dependant_on }),
      });
      for (const [tasks, cycle] of [
        [[task(a, a)], [a]],
        [
          [task(d, a), task(a, b), task(b, c), task(c, a.toUpperCase())],
          [a, b, c],
        ],
      ] as const) {
        const { body } = await refused("invalid_dependency", { tasks }, owner.session);
        assert.deepEqual(body["cycle"], cycle);
      }
      assert.deepEqual(await made(sql, owner), before);
    },
    "200: a batch in any order without a cycle is what it is in order; answered as it was sent": async ({
      sql,
      call,
      person,
    }) => {
      const owner = await person();
      // The same graphs each time; another seed is another run.
      const random = randomFrom(Number(process.env["DARKROOM_CHECK_SEED"] ?? 12));
      const runs = Number(process.env["DARKROOM_PROPERTY_RUNS"] ?? 12);
      for (let run = 0; run < runs; run++) {
        const size = 2 + Math.floor(random() * 12);
        const sorted = Array.from({ length: size }, () => ({
          ...order(owner.projectId),
          task_id: randomUUID(),
        })).map((task, place, all) => {
          const dependant_on = all
            .slice(0, place)
            .filter(() => random() < 0.3)
            .map(({ task_id }) => task_id);
          return { ...task, ...(dependant_on.length > 0 && { dependant_on }) };
        });
        const sent = shuffled(sorted, random);
        const idempotency_key = randomUUID();
        const first = await call({ tasks: sent, idempotency_key }, owner.session);
        assert.equal(first.status, 200, first.text);
        const ids = sent.map(({ task_id }) => task_id);
        assert.deepEqual(first.body["task_ids"], ids);
        const answered = first.body["tasks"] as { task_id: string; deduplicated: boolean }[];
        assert.deepEqual(
          answered.map(({ task_id }) => task_id),
          ids,
        );
        const again = await call({ tasks: sent, idempotency_key }, owner.session);
        assert.deepEqual([again.body["deduplicated"], again.body["task_ids"]], [true, ids]);
        // Sent in order, it is the same batch: every task is known.
        const repeated = await call({ tasks: sorted }, owner.session);
        assert.equal(repeated.body["deduplicated"], true, repeated.text);
        const stored = await sql<{ id: string; dependant_on: string[] | null; unmet_dependencies: number }[]>`
          select id, dependant_on, unmet_dependencies from tasks where id = any (${ids}::uuid[])`;
        for (const { task_id, dependant_on = [] } of sorted as {
          task_id: string;
          dependant_on?: string[];
        }[]) {
          const row = stored.find(({ id }) => id === task_id);
          assert.deepEqual(
            [row?.dependant_on ?? [], row?.unmet_dependencies],
            [dependant_on, dependant_on.length],
          );
        }
      }
    },
    "422 idempotency_key_reused: another body": async ({ call, refused, person }) => {
      const { projectId, session } = await person();
      const idempotency_key = randomUUID();
      await call({ ...order(projectId), idempotency_key }, session);
      const other = { ...order(projectId), idempotency_key, params: { prompt: "a hare" } };
      await refused("idempotency_key_reused", other, session);
    },
    "200: what a family makes, for a user, a token and the service; its totals; queued as asked": async ({
      sql,
      call,
      person,
      service,
    }) => {
      const { projectId, session, token } = await person();
      const [shot] = await sql<
        { id: string }[]
      >`insert into shots (project_id) values (${projectId}) returning id`;
      for (const credentials of [session, (await token(["tasks:write"])).credentials, service]) {
        const request = {
          ...images(projectId, { imagesPerPrompt: 2, seed: 5, shot_id: shot?.id }),
          priority: 3,
          max_attempts: 1,
          run_after: new Date(Date.now() + 3_600_000).toISOString(),
        };
        const { status, body, text } = await call(request, credentials);
        assert.equal(status, 200, text);
        const ids = body["task_ids"] as string[];
        assert.deepEqual(
          [body["task_id"], body["status"], body["family"], body["task_type"], body["deduplicated"]],
          [ids[0], "Task queued", "image_generation", "z_image_turbo", false],
        );
        assert.deepEqual(
          [body["cost"], body["upper_bound_microusd"], body["held_microusd"], body["exact"]],
          [2.6, 26_000, 26_000, true],
        );
        assert.deepEqual(body["meta"], { resolution: "1005x1005", seeds: [5, 6, 7, 8] });
        assert.deepEqual(
          (body["tasks"] as { task_id: string; held_microusd: number }[]).map((task) => [
            task.task_id,
            task.held_microusd,
          ]),
          ids.map((id) => [id, 6_500]),
        );
        const rows = await sql`
          select priority, max_attempts, is_scheduled, params ->> 'prompt' as prompt
            from unnest(${ids}::uuid[]) with ordinality as asked (id, position) join tasks using (id) order by position`;
        assert.deepEqual(
          rows.map((row) => ({ ...row })),
          ["a fox", "a fox", "an owl", "an owl"].map((prompt) => ({
            priority: 3,
            max_attempts: 1,
            is_scheduled: true,
            prompt,
          })),
        );
      }
    },
    "200: a family's tasks wait for others": async ({ sql, call, person }) => {
      const owner = await person();
      const first = await queueTask(sql, owner);
      const { body } = await call({ ...images(owner.projectId), dependant_on: first }, owner.session);
      const rows = await sql`
        select dependant_on, unmet_dependencies from tasks where id = any (${body["task_ids"] as string[]})`;
      assert.deepEqual(
        rows.map((row) => ({ ...row })),
        [1, 2].map(() => ({ dependant_on: [first], unmet_dependencies: 1 })),
      );
    },
    "200: one key is one run of a family: the same ids and seeds again, whatever became of the rows that it named":
      async ({ sql, call, refused, person }) => {
        const owner = await person();
        const [shot] = await sql<{ id: string }[]>`
        insert into shots (project_id) values (${owner.projectId}) returning id`;
        const headers = { "idempotency-key": randomUUID() };
        const request = travel(owner.projectId, { random_seed: true, shot_id: shot?.id });
        const first = await call(request, owner.session, { headers });
        const before = await made(sql, owner);
        await sql`delete from shots where id = ${shot?.id ?? ""}`;
        const second = await call(request, owner.session, { headers });
        assert.deepEqual(second.body, { ...first.body, deduplicated: true });
        assert.deepEqual(await made(sql, owner), { ...before, places: 0 });
        for (const other of [
          travel(owner.projectId, { random_seed: true }),
          { ...request, priority: 1 },
          images(owner.projectId),
          order(owner.projectId),
        ]) {
          await refused("idempotency_key_reused", other, owner.session, { headers });
        }
      },
    "200: a travel in a shot has its placeholder from the start, in the shot and nowhere on its timeline":
      async ({ sql, call, person }) => {
        const { projectId, session } = await person();
        const [shot] = await sql<
          { id: string }[]
        >`insert into shots (project_id) values (${projectId}) returning id`;
        const request = travel(projectId, { shot_id: shot?.id, generation_name: "Journey" });
        const { body } = await call(request, session);
        const { parent_generation_id } = body["meta"] as { parent_generation_id: string };
        const [placeholder] = await sql`
        select type, name, location, is_child, source_task_id, tasks, shot_data, params ->> 'tool_type' as tool_type,
               params ->> 'created_from' as created_from, params ? 'orchestrator_details' as has_details
          from generations where id = ${parent_generation_id}`;
        assert.deepEqual(
          { ...placeholder },
          {
            type: "video",
            name: "Journey",
            location: null,
            is_child: false,
            source_task_id: body["task_id"],
            tasks: [body["task_id"]],
            shot_data: { [shot?.id ?? ""]: [null] },
            tool_type: "travel-between-images",
            created_from: "shot_placeholder",
            has_details: true,
          },
        );
        const named = await call(travel(projectId, { shot_id: shot?.id, parent_generation_id }), session);
        const without = await call(travel(projectId), session);
        assert.equal(
          (named.body["meta"] as Record<string, unknown>)["parent_generation_id"],
          parent_generation_id,
        );
        assert.ok(!("parent_generation_id" in (without.body["meta"] as object)));
        assert.equal((await sql`select from generations where project_id = ${projectId}`).length, 1);
      },
    "200: a segment made anew is billed by itself, whatever travel its former params name": async ({
      sql,
      call,
      person,
    }) => {
      const owner = await person();
      const rows = await makeRows(sql, owner.projectId);
      const [former] = (await familyCases()).filter(({ title }) => title.startsWith("of an earlier travel"));
      assert.ok(JSON.stringify(former?.input).includes("{travel}"));
      const body = {
        family: former?.family,
        project_id: owner.projectId,
        input: withRows(former?.input, rows),
      };
      const answer = await call(body, owner.session);
      const [task] = await sql`
        select orchestrator_task_id, (select state::text from credit_holds where task_id = tasks.id) as hold
          from tasks where id = ${String(answer.body["task_id"])}`;
      assert.deepEqual({ ...task }, { orchestrator_task_id: null, hold: "held" });
      assert.ok(Number(answer.body["held_microusd"]) > 0);
    },
    "200: a quote of a family is the price of what it builds, whatever ids, seeds and words; 422 of what costs otherwise":
      async ({ sql, call, refused, person }) => {
        const { projectId, userId, session } = await person();
        const quoteFor = async (type: string, params: object) => {
          const [row] = await sql<{ quote: { quote_id: string } }[]>`
          select calculate_task_cost(${userId}, ${type}, ${sql.json(params as never)}, is_of_family => true) as quote`;
          return row?.quote.quote_id ?? "";
        };
        const quote_id = await quoteFor("z_image_turbo", { model: "z-image", resolution: "1005x1005" });
        await publish(sql, 9_000);
        const quoted = await call({ ...images(projectId), quote_id }, session);
        const again = await call(
          { ...images(projectId, { prompts: ["a hare"], seed: 4 }), quote_id },
          session,
        );
        const fresh = await call(images(projectId), session);
        await publish(sql, 6_500);
        assert.deepEqual(
          [quoted, again, fresh].map(({ body }) => body["held_microusd"]),
          [13_000, 6_500, 18_000],
        );
        for (const input of [
          { resolution: "512x512" },
          { resolution: "2048x1024" },
          { model_name: "qwen-image" },
        ]) {
          await refused("quote_mismatch", { ...images(projectId, input), quote_id }, session);
        }
        const segments = { orchestrator_details: { num_new_segments_to_generate: 1 } };
        const ofOne = await quoteFor("travel_orchestrator", {
          orchestrator_details: {
            ...segments.orchestrator_details,
            model_name: "wan_2_2_i2v_lightning_baseline_2_2_2",
          },
        });
        await call({ ...travel(projectId), quote_id: ofOne }, session);
        const ofTwo = travel(projectId, {
          image_urls: [1, 2, 3].map((name) => `https://media.example/${name}.png`),
        });
        await refused("quote_mismatch", { ...ofTwo, quote_id: ofOne }, session);
        const [ofParams] = await sql<{ quote: { quote_id: string } }[]>`
        select calculate_task_cost(${userId}, 'z_image_turbo', '{"model": "z-image", "resolution": "1005x1005"}') as quote`;
        await refused(
          "quote_mismatch",
          { ...images(projectId), quote_id: ofParams?.quote.quote_id },
          session,
        );
      },
    "400 invalid_request: fields of an input are named; no project, no input, two forms at once": async ({
      sql,
      refused,
      person,
    }) => {
      const owner = await person();
      const fine = images(owner.projectId);
      const issuesOf = async (body: object) =>
        ((await refused("invalid_request", body, owner.session)).body["issues"] as { path: string }[]).map(
          ({ path }) => path,
        );
      assert.deepEqual(await issuesOf(images(owner.projectId, { prompts: ["a", { fullPrompt: " " }] })), [
        "input.prompts.1.fullPrompt",
      ]);
      assert.deepEqual(await issuesOf(images(owner.projectId, { seed: 0.5, steps: 0 })), [
        "input.seed",
        "input.steps",
      ]);
      assert.deepEqual(await issuesOf({ ...fine, project_id: undefined }), ["project_id"]);
      assert.deepEqual(await issuesOf({ ...fine, project_id: "default_project_id" }), ["project_id"]);
      assert.deepEqual(await issuesOf({ ...fine, input: undefined }), ["input"]);
      assert.deepEqual(await issuesOf({ ...fine, input: ["a"] }), ["input"]);
      assert.deepEqual(await issuesOf({ ...order(owner.projectId), ...fine }), ["task_type", "params"]);
      assert.deepEqual(await issuesOf({ ...fine, tasks: [order(owner.projectId)] }), ["tasks"]);
      assert.deepEqual(await issuesOf({ ...fine, task_id: randomUUID() }), ["task_id"]);
      assert.deepEqual(await made(sql, owner), {
        tasks: 0,
        generations: 0,
        places: 0,
        holds: 0,
        requests: 0,
      });
    },
    "402 insufficient_credits: all of a family's tasks or none, and no placeholder": async ({
      sql,
      refused,
      person,
    }) => {
      const poor = await person({ balanceMicrousd: 12_999 });
      const [shot] = await sql<{ id: string }[]>`
        insert into shots (project_id) values (${poor.projectId}) returning id`;
      const headers = { "idempotency-key": randomUUID() };
      await refused("insufficient_credits", images(poor.projectId), poor.session, { headers });
      await refused("insufficient_credits", travel(poor.projectId, { shot_id: shot?.id }), poor.session, {
        headers,
      });
      assert.deepEqual(await made(sql, poor), { tasks: 0, generations: 0, places: 0, holds: 0, requests: 0 });
      assert.deepEqual(await accountOf(sql, poor.userId), { balance: 12_999, held: 0 });
    },
    "404: every row that a family's input names is of the project; foreign and unknown alike": async ({
      sql,
      refused,
      person,
      service,
    }) => {
      const [owner, other] = [await person(), await person()];
      const [own, foreign] = [await makeRows(sql, owner.projectId), await makeRows(sql, other.projectId)];
      const before = await made(sql, owner);
      const seen = new Map<string, Set<string>>();
      for (const { family, input } of await familyCases()) {
        for (const field of Object.keys(input).filter((name) => name !== "originalParams")) {
          const [named] = JSON.stringify(input[field]).match(/(?<=^\[?"\{)[a-z ]+(?=\}")/) ?? [];
          if (!named) continue;
          const refusals = [];
          for (const id of [randomUUID(), foreign[named as keyof RowIds]]) {
            const rows = { ...own, [named]: id };
            const body = {
              family,
              project_id: owner.projectId,
              input: { ...(withRows(input, own) as object), [field]: withRows(input[field], rows) },
            };
            for (const credentials of [owner.session, service]) {
              const kind =
                { shot: "shot", variant: "variant", pair: "shot_generation" }[named] ?? "generation";
              const refusal = await refused(`${kind}_not_found`, body, credentials);
              assert.equal(refusal.body["field"], `input.${field}`);
              refusals.push({ ...refusal.body, request_id: "" });
            }
          }
          assert.equal(new Set(refusals.map((body) => JSON.stringify(body))).size, 1);
          seen.set(family, (seen.get(family) ?? new Set()).add(field));
        }
      }
      assert.deepEqual(
        [...seen].map(([family, fields]) => [family, fields.size]),
        [
          ["image_generation", 1],
          ["z_image_turbo_i2i", 3],
          ["magic_edit", 3],
          ["masked_edit", 3],
          ["image_upscale", 1],
          ["video_enhance", 3],
          ["travel_between_images", 4],
          ["individual_travel_segment", 8],
          ["join_clips", 2],
          ["crossfade_join", 2],
          ["edit_video_orchestrator", 1],
        ],
      );
      for (const project_id of [randomUUID(), other.projectId]) {
        await refused("project_not_found", images(project_id), owner.session);
      }
      assert.deepEqual(await made(sql, owner), before);
    },
    "422 unknown_family": async ({ refused, person }) => {
      const { projectId, session } = await person();
      for (const family of ["no_such_family", "toString", "z_image_turbo"]) {
        const { body } = await refused("unknown_family", { ...images(projectId), family }, session);
        assert.equal(body["family"], family);
      }
    },
    "422 unknown_task_type: a family whose type the operator has switched off": async ({
      sql,
      refused,
      person,
    }) => {
      const owner = await person();
      await sql`update task_types set is_active = false where name = 'z_image_turbo'`;
      try {
        await refused("unknown_task_type", images(owner.projectId), owner.session);
      } finally {
        await sql`update task_types set is_active = true where name = 'z_image_turbo'`;
      }
    },
    "no secret that is sent to a family is kept anywhere": async ({ sql, call, person, logged }) => {
      const owner = await person();
      const rows = await makeRows(sql, owner.projectId);
      const canary = `sk-${randomUUID()}`;
      for (const { family, input } of await familyCases()) {
        const body = {
          family,
          project_id: owner.projectId,
          input: { ...(withRows(input, rows) as object), openai_api_key: canary, api_keys: { groq: canary } },
          openai_api_key: canary,
          idempotency_key: randomUUID(),
        };
        const { status, text } = await call(body, owner.session);
        assert.equal(status, 200, text);
        assert.ok(!text.includes(canary));
      }
      const tables = await sql<{ name: string }[]>`
        select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = 'public'`;
      for (const { name } of tables) {
        const found = await sql.query(`select from ${name} as one where one::text like '%' || $1 || '%'`, [
          canary,
        ]);
        assert.equal(found.length, 0, name);
      }
      assert.ok(!logged().includes(canary));
    },
  },
});
