import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { queueTask, setStatus } from "../../../test/support/factories.ts";
import { makeRows } from "../../../test/support/family-fixtures.ts";
import { createTaskEndpoint } from "../create-task/endpoint.ts";
import { bind } from "../_shared/http/bind.ts";
import { calculateTaskCostEndpoint } from "./endpoint.ts";

describeEndpoint(calculateTaskCostEndpoint, {
  async accepted(under) {
    const { session } = await under.person();
    return { body: { task_type: "z_image_turbo", params: { prompt: "a fox" } }, credentials: session };
  },
  cases: {
    "200: an exact quote, under either name of the type": async ({ call, person }) => {
      const { session } = await person();
      for (const name of ["task_type", "tool_id"]) {
        const { body } = await call({ [name]: "qwen_image", params: {} }, session);
        assert.deepEqual([body["cost"], body["cost_microusd"], body["exact"]], [3.9, 39_000, true]);
      }
    },
    "200: an estimate, the first hold and the upper bound, each by its name": async ({ call, service }) => {
      const { body } = await call({ task_type: "extract_frame" }, service);
      assert.deepEqual(
        [body["exact"], body["estimated_cost_microusd"], body["hold_microusd"], body["upper_bound_microusd"]],
        [false, 278 * 5, 278 * 60, 278 * 600],
      );
      assert.deepEqual(
        [body["cost"], body["estimated_cost"], body["hold"], body["upper_bound"]],
        [0.139, 0.139, 1.668, 16.68],
      );
    },
    "200: a task's cost, while it waits and when it is over": async ({ sql, call, person, service }) => {
      const owner = await person();
      const task_id = await queueTask(sql, owner);
      const { credentials } = await owner.token(["tasks:read"]);
      const waiting = await call({ task_id }, credentials);
      assert.deepEqual([waiting.body["final"], waiting.body["cost_microusd"]], [false, 6_500]);
      await setStatus(sql, task_id, "Cancelled");
      const over = await call({ task_id }, service);
      assert.deepEqual([over.body["final"], over.body["cost_microusd"]], [true, 0]);
    },
    "200: a quote is kept for ten minutes, for a user and for a token's owner; the service has none": async ({
      sql,
      call,
      person,
      service,
    }) => {
      const { userId, session, token } = await person();
      const body = { task_type: "qwen_image", params: { prompt: "a fox" } };
      for (const credentials of [session, (await token(["tasks:read"])).credentials]) {
        const { body: quote } = await call(body, credentials);
        const [kept] = await sql<{ user_id: string; expected: number; seconds: number }[]>`
          select user_id, expected_microusd::int as expected, extract(epoch from expires_at - now())::int as seconds
            from task_quotes where id = ${String(quote["quote_id"])}`;
        assert.deepEqual([kept?.user_id, kept?.expected], [userId, 39_000]);
        assert.ok(kept && kept.seconds > 590 && kept.seconds <= 600);
      }
      const { body: quote } = await call(body, service);
      assert.deepEqual([quote["quote_id"], quote["quote_expires_at"]], [null, null]);
    },
    "200: the price that is in force, and its lines, which add up": async ({ sql, call, person }) => {
      const { session } = await person();
      const ask = async () => {
        const { body } = await call({ task_type: "image_inpaint", params: {} }, session);
        const lines = body["breakdown"] as { total_microusd: number }[];
        assert.equal(
          lines.reduce((sum, line) => sum + line.total_microusd, 0),
          body["cost_microusd"],
        );
        return [body["cost_microusd"], body["price_version"]];
      };
      const [before, version] = await ask();
      const dearer = Number(before) + 1;
      await sql`select publish_price('image_inpaint', 'per_unit', ${dearer}, '{}', null, 'test', 'dearer', ${randomUUID()})`;
      assert.deepEqual(await ask(), [dearer, Number(version) + 1]);
    },
    "400 invalid_request: neither a type nor a task": async ({ refused, service }) => {
      await refused("invalid_request", { params: {} }, service);
    },
    "404 task_not_found: unknown and foreign alike": async ({ sql, refused, person }) => {
      const [{ session }, other] = [await person(), await person()];
      for (const task_id of [randomUUID(), await queueTask(sql, other)]) {
        await refused("task_not_found", { task_id }, session);
      }
    },
    "422 unpriced_value, contradicting_values: as create-task refuses them": async ({ refused, service }) => {
      const quote = (params: object) => ({ task_type: "animate_character", params });
      await refused("unpriced_value", quote({ resolution: "580p" }), service);
      await refused("contradicting_values", quote({ seconds: 5, duration: 10 }), service);
    },
    "422 unknown_tool: the answer lists the tools": async ({ refused, service }) => {
      for (const tool_id of ["no-such-tool", "toString", "ai-prompt"]) {
        const { body } = await refused("unknown_tool", { tool_id, params: {} }, service);
        const tools = body["tools"] as string[];
        for (const tool of [
          "edit-travel",
          "image-generation",
          "single-image-generate",
          "steerable-motion",
          "training",
        ])
          assert.ok(tools.includes(tool), tool);
      }
    },
    "422 unclear_task_type: a tool of several types, of which the parameters tell none": async ({
      refused,
      sql,
      service,
    }) => {
      await sql`update task_types set tool_type = 'of-two' where name in ('wgp', 'generate_openpose')`;
      const { body } = await refused("unclear_task_type", { tool_id: "of-two", params: {} }, service);
      assert.deepEqual(body["task_types"], ["generate_openpose", "wgp"]);
      await sql`update task_types set tool_type = 'processing' where name in ('wgp', 'generate_openpose')`;
    },
    "400 invalid_request: what the closest generator of a tool lacks, by its place in params": async ({
      refused,
      service,
    }) => {
      const { body } = await refused("invalid_request", { tool_id: "magic-edit", params: {} }, service);
      assert.deepEqual(
        (body["issues"] as { path: string }[]).map(({ path }) => path),
        ["params.prompt", "params.image_url"],
      );
    },
    "422 unknown_task_type": async ({ refused, service }) => {
      await refused("unknown_task_type", { task_type: "no_such_type" }, service);
    },
    "200: what a family would cost together, quoted for each of its tasks; create-task takes the quote":
      async ({ sql, call, person, service, environment }) => {
        const { projectId, session } = await person();
        await sql`update projects set aspect_ratio = '16:9' where id = ${projectId}`;
        const request = {
          family: "image_generation",
          project_id: projectId,
          input: { prompts: ["a fox", "an owl"], imagesPerPrompt: 3, model_name: "z-image" },
        };
        const { body: quote, text } = await call(request, session);
        assert.deepEqual(
          [quote["family"], quote["task_type"], quote["task_count"], quote["cost_microusd"], quote["exact"]],
          ["image_generation", "z_image_turbo", 6, 39_000, true],
          text,
        );
        const lines = quote["breakdown"] as { count: number; total_microusd: number }[];
        assert.deepEqual(
          lines.map(({ count, total_microusd }) => [count, total_microusd]),
          [[6, 39_000]],
        );
        assert.equal((await sql`select from tasks where project_id = ${projectId}`).length, 0);
        await sql`select publish_price('z_image_turbo', 'per_unit', 8000, '{}', null, 'test', 'dearer', ${randomUUID()})`;
        const created = await bind(
          createTaskEndpoint,
          environment,
        )(
          new Request("http://darkroom.test/functions/v1/create-task", {
            method: "POST",
            headers: { "content-type": "application/json", ...session },
            body: JSON.stringify({ ...request, quote_id: quote["quote_id"] }),
          }),
        );
        const answer = (await created.json()) as Record<string, unknown>;
        await sql`select publish_price('z_image_turbo', 'per_unit', 6500, '{}', null, 'test', 'as before', ${randomUUID()})`;
        assert.deepEqual([created.status, answer["held_microusd"]], [200, 39_000], JSON.stringify(answer));
        const { body: ofService } = await call(request, service);
        assert.deepEqual([ofService["quote_id"], ofService["cost_microusd"]], [null, 39_000]);
      },
    "200: a travel costs what its segments do; a larger picture, and a larger upscale, by their factors":
      async ({ call, person }) => {
        const { projectId, session } = await person();
        const ask = async (family: string, input: object) =>
          (await call({ family, project_id: projectId, input }, session)).body;
        const url = "https://media.example/1.png";
        const travel = await ask("travel_between_images", {
          image_urls: [url, url, url],
          base_prompts: ["a walk"],
          segment_frames: [61],
        });
        const lines = travel["breakdown"] as { item: string; count: number; upper_bound_microusd: number }[];
        assert.deepEqual(
          lines.map(({ item, count }) => [item, count]),
          // Its segments stand for themselves: nothing is stitched.
          [["travel_segment", 2]],
        );
        assert.equal(
          lines.reduce((sum, line) => sum + line.upper_bound_microusd, 0),
          travel["upper_bound_microusd"],
        );
        const animate = { character_image_url: url, motion_video_url: url };
        const costs = [
          await ask("character_animate", animate),
          await ask("character_animate", { ...animate, resolution: "720p" }),
          await ask("image_upscale", { image_url: url }),
          await ask("image_upscale", { image_url: url, scale_factor: 4 }),
        ];
        assert.deepEqual(
          costs.map((quote) => quote["cost_microusd"]),
          [200_000, 400_000, 20_000, 40_000],
        );
      },
    "200: a quote makes nothing, not even a placeholder": async ({ sql, call, person }) => {
      const { projectId, session } = await person();
      const [shot] = await sql<
        { id: string }[]
      >`insert into shots (project_id) values (${projectId}) returning id`;
      const input = {
        image_urls: ["https://media.example/1.png"],
        base_prompts: ["a walk"],
        segment_frames: [61],
        shot_id: shot?.id,
      };
      await call({ family: "travel_between_images", project_id: projectId, input }, session);
      assert.equal((await sql`select from generations where project_id = ${projectId}`).length, 0);
    },
    "400 invalid_request: a family's input, and a family without a project": async ({ refused, person }) => {
      const { projectId, session } = await person();
      const request = {
        family: "image_upscale",
        project_id: projectId,
        input: { image_url: "file:///etc/passwd" },
      };
      const { body } = await refused("invalid_request", request, session);
      assert.deepEqual(body["issues"], [
        { path: "input.image_url", message: "must be an http or https address" },
      ]);
      await refused("invalid_request", { ...request, project_id: undefined }, session);
    },
    "404: projects and rows that a family's input names, unknown and foreign alike": async ({
      sql,
      refused,
      person,
    }) => {
      const [owner, other] = [await person(), await person()];
      const rows = await makeRows(sql, other.projectId);
      const base = { image_url: "https://media.example/1.png" };
      const segment = { start_image_url: base.image_url, segment_index: 0 };
      const requests: [string, string, object][] = [
        ["shot_not_found", "z_image_turbo_i2i", { ...base, shot_id: rows.shot }],
        ["generation_not_found", "image_upscale", { ...base, generation_id: rows.image }],
        ["variant_not_found", "z_image_turbo_i2i", { ...base, source_variant_id: rows.variant }],
        [
          "generation_not_found",
          "individual_travel_segment",
          { ...segment, parent_generation_id: rows.parent, pair_shot_generation_id: rows.pair },
        ],
      ];
      for (const [code, family, input] of requests) {
        await refused(code, { family, project_id: owner.projectId, input }, owner.session);
      }
      const own = await makeRows(sql, owner.projectId);
      const pair = { ...segment, parent_generation_id: own.parent, pair_shot_generation_id: rows.pair };
      const asked = { family: "individual_travel_segment", project_id: owner.projectId, input: pair };
      await refused("shot_generation_not_found", asked, owner.session);
      await refused("project_not_found", { ...asked, project_id: other.projectId }, owner.session);
    },
    "422 unknown_family": async ({ refused, person }) => {
      const { projectId, session } = await person();
      await refused("unknown_family", { family: "none", project_id: projectId, input: {} }, session);
    },
  },
});
