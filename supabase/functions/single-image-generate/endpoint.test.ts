import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { singleImageGenerateEndpoint } from "./endpoint.ts";

const lora = "https://models.example/fox.safetensors";

describeEndpoint(singleImageGenerateEndpoint, {
  async accepted(under) {
    const { projectId, session } = await under.person();
    return { body: { project_id: projectId, prompt: "a fox", seed: 7 }, credentials: session };
  },
  cases: {
    "201: the payload that the shipped worker reads, and the row": async ({ call, person, sql }) => {
      const { projectId, session, userId } = await person();
      await sql`update projects set aspect_ratio = '16:9' where id = ${projectId}`;
      const [shot] = await sql<
        { id: string }[]
      >`insert into shots (project_id) values (${projectId}) returning id`;
      const { status, body, text } = await call(
        {
          project_id: projectId,
          prompt: "  a fox  ",
          negative_prompt: "blurred",
          loras: [
            { path: lora, strength: 0.8 },
            { path: `${lora}?b`, scale: "1.5" },
          ],
          shot_id: shot?.id,
        },
        session,
      );
      assert.equal(status, 201, text);
      const params = body["params"] as Record<string, unknown> & { orchestrator_details: { run_id: string } };
      const { run_id } = params.orchestrator_details;
      assert.match(run_id, /^\d{17}$/);
      assert.match(
        String(params["task_id"]),
        new RegExp(`^single_image_${run_id.slice(2, 10)}_[0-9a-f]{6}$`),
      );
      const shared = { prompt: "a fox", model: "optimised-t2i", resolution: "902x508" };
      assert.deepEqual(params, {
        orchestrator_details: {
          run_id,
          ...shared,
          seed: 11111,
          negative_prompt: "blurred",
          additional_loras: { [lora]: 0.8, [`${lora}?b`]: 1.5 },
        },
        task_id: params["task_id"],
        ...shared,
        shot_id: shot?.id,
      });
      assert.deepEqual(
        [
          body["task_type"],
          body["status"],
          body["project_id"],
          body["dependant_on"],
          body["output_location"],
        ],
        ["single_image", "Queued", projectId, null, null],
      );
      assert.deepEqual([body["id"], body["task_ids"]], [body["task_id"], [body["task_id"]]]);
      const [stored] = await sql`select user_id, params from tasks where id = ${String(body["task_id"])}`;
      assert.deepEqual({ ...stored }, { user_id: userId, params });
    },
    "201: prompts × images are one batch, with a seed of its own each": async ({ call, person, sql }) => {
      const { projectId, session } = await person();
      const { body, text } = await call(
        {
          project_id: projectId,
          prompts: ["a fox", { id: "2", fullPrompt: "an owl" }],
          images_per_prompt: 3,
          seed: 2 ** 31 - 2,
        },
        session,
      );
      const ids = body["task_ids"] as string[];
      assert.equal(new Set(ids).size, 6, text);
      const rows = await sql`
        select params ->> 'prompt' as prompt, (params -> 'orchestrator_details' ->> 'seed')::bigint::float8 as seed
          from unnest(${ids}::uuid[]) with ordinality as made (id, position) join tasks using (id) order by position`;
      assert.deepEqual(
        rows.map((row) => [row["prompt"], row["seed"]]),
        [
          ["a fox", 2_147_483_646],
          ["a fox", 2_147_483_647],
          ["a fox", 0],
          ["an owl", 1],
          ["an owl", 2],
          ["an owl", 3],
        ],
      );
      assert.equal(body["upper_bound_microusd"], 6 * 84_000);
    },
    "201: one key is one batch, although ids and times differ": async ({ call, refused, person, sql }) => {
      const { projectId, session } = await person();
      const request = { project_id: projectId, prompt: "a fox", idempotency_key: randomUUID() };
      const first = await call(request, session);
      const second = await call(request, session);
      assert.deepEqual(second.body, { ...first.body, deduplicated: true });
      assert.equal((await sql`select from tasks where project_id = ${projectId}`).length, 1);
      await refused("idempotency_key_reused", { ...request, prompt: "an owl" }, session);
    },
    "400 invalid_request: no prompt, too many images, odd sizes, seeds and LoRAs; nothing is made": async ({
      refused,
      person,
      sql,
    }) => {
      const { projectId, session } = await person();
      const fine = { project_id: projectId, prompt: "a fox" };
      for (const wrong of [
        { prompt: undefined },
        { prompt: "   " },
        { prompts: [] },
        { prompts: ["a", " "] },
        { prompts: Array.from({ length: 26 }, () => "a"), images_per_prompt: 4 },
        { images_per_prompt: 17 },
        { resolution: "large" },
        { resolution: "9000x10" },
        { seed: -1 },
        { seed: 2 ** 31 },
        { loras: [{ path: "file:///etc/passwd" }] },
        { loras: [{ path: lora, strength: 3 }] },
        { image_url: "ftp://a.example/a.png" },
        { strength: 1.1 },
        { steps: 0 },
        { output_format: "gif" },
        { shot_id: "first" },
      ]) {
        await refused("invalid_request", { ...fine, ...wrong }, session);
      }
      assert.equal((await sql`select from tasks where project_id = ${projectId}`).length, 0);
    },
    "402: no cover, for the whole batch; in debt; a cap": async ({ refused, person, sql }) => {
      const poor = await person({ balanceMicrousd: 167_999 });
      const request = { project_id: poor.projectId, prompts: ["a fox", "an owl"] };
      await refused("insufficient_credits", request, poor.session);
      assert.equal((await sql`select from tasks where project_id = ${poor.projectId}`).length, 0);
      const capped = await person();
      await sql`select set_spend_cap(${capped.userId}, ${capped.projectId}, null, 40000)`;
      await refused("spend_cap_reached", { ...request, project_id: capped.projectId }, capped.session);
      const owing = await person({ balanceMicrousd: 1_000_000 });
      await sql`select take_back_credit(${owing.userId}, 'refund', 1000001, null)`;
      await refused("account_in_debt", { ...request, project_id: owing.projectId }, owing.session);
    },
    "404: a project or a shot that is unknown or somebody else's": async ({ refused, person, sql }) => {
      const [mine, other] = [await person(), await person()];
      const [foreign] = await sql<{ id: string }[]>`
        insert into shots (project_id) values (${other.projectId}) returning id`;
      for (const project_id of [randomUUID(), other.projectId]) {
        await refused("project_not_found", { project_id, prompt: "a fox" }, mine.session);
      }
      for (const shot_id of [randomUUID(), foreign?.id]) {
        await refused(
          "shot_not_found",
          { project_id: mine.projectId, prompt: "a fox", shot_id },
          mine.session,
        );
      }
    },
    "422 task_limit_reached: one task more than may be open": async ({ sql, call, refused, person }) => {
      const { projectId, session } = await person();
      await sql`update queue_settings set max_open_tasks = 1`;
      try {
        assert.equal((await call({ project_id: projectId, prompt: "a fox" }, session)).status, 201);
        await refused("task_limit_reached", { project_id: projectId, prompt: "a wolf" }, session);
      } finally {
        await sql`update queue_settings set max_open_tasks = default`;
      }
    },
    "201: settings of the picture are params, and what the model does not do of them is a warning": async ({
      call,
      person,
    }) => {
      const { projectId, session } = await person();
      const picture = "https://media.example/a.png";
      const request = {
        project_id: projectId,
        prompt: "a fox",
        model_name: "Flux Schnell",
        negative_prompt: "blurred",
        loras: [{ path: lora }],
        steps: 20,
        enable_safety_checker: false,
        image_url: picture,
        resolution: "512x512",
        idempotency_key: randomUUID(),
      };
      const { status, body, text } = await call(request, session);
      assert.equal(status, 201, text);
      const warnings = body["warnings"] as { code: string; field: string; message: string }[];
      assert.deepEqual(
        warnings.map(({ code, field }) => [code, field]),
        [
          ["not_supported", "negative_prompt"],
          ["adjusted", "steps"],
          ["not_supported", "loras"],
          ["not_supported", "image_url"],
        ],
      );
      assert.equal(warnings[1]?.message, "`steps` is 12 instead of 20: flux-schnell takes 1 to 12.");
      const params = body["params"] as Record<string, unknown>;
      assert.deepEqual(
        [params["steps"], params["enable_safety_checker"], params["image_url"]],
        [20, false, picture],
      );
      assert.deepEqual((await call(request, session)).body, { ...body, deduplicated: true });

      const plain = await call({ project_id: projectId, prompt: "a fox" }, session);
      assert.deepEqual(plain.body["warnings"], []);
      const edit = { project_id: projectId, prompt: "at night", model_name: "kontext", image_url: picture };
      const edited = await call(edit, session);
      const shaped = edited.body["params"] as Record<string, unknown>;
      assert.deepEqual(
        [edited.body["warnings"], shaped["match_image_size"], shaped["resolution"]],
        [[], true, undefined],
      );
      assert.equal(edited.body["cost_microusd"] ?? edited.body["upper_bound_microusd"], 50_400);
    },
    "422 unpriced_value: an unknown model, with the list of models": async ({ refused, person, sql }) => {
      const { projectId, session } = await person();
      const request = { project_id: projectId, prompt: "a fox", model_name: "dall-e-3" };
      const { body } = await refused("unpriced_value", request, session);
      assert.deepEqual([body["parameter"], body["value"]], ["model", "dall-e-3"]);
      const allowed = body["allowed"] as string[];
      for (const model of [
        "optimised-t2i",
        "flux-dev",
        "flux-schnell",
        "flux-pro",
        "kontext",
        "wan-2.2",
        "z-image",
      ]) {
        assert.ok(allowed.includes(model), model);
      }
      assert.equal((await sql`select from tasks where project_id = ${projectId}`).length, 0);
    },
    "422 unsupported_by_model: a size or a number of LoRAs that the model cannot make": async ({
      refused,
      person,
    }) => {
      const { projectId, session } = await person();
      const request = { project_id: projectId, prompt: "a fox" };
      const large = await refused("unsupported_by_model", { ...request, resolution: "4096x4096" }, session);
      assert.deepEqual(large.body["issues"], [
        { field: "resolution", message: "must have sides from 64 to 2048" },
      ]);
      const loras = Array.from({ length: 4 }, (_, index) => ({ path: `${lora}?${index}` }));
      await refused("unsupported_by_model", { ...request, loras }, session);
      const wide = { ...request, model_name: "kontext", resolution: "2048x1024" };
      await refused("unsupported_by_model", wide, session);
    },
    "422 unknown_task_type: where the operator has switched it off": async ({ refused, person, sql }) => {
      const { projectId, session } = await person();
      await sql`update task_types set is_active = false where name = 'single_image'`;
      try {
        await refused("unknown_task_type", { project_id: projectId, prompt: "a fox" }, session);
      } finally {
        await sql`update task_types set is_active = true where name = 'single_image'`;
      }
    },
  },
});
