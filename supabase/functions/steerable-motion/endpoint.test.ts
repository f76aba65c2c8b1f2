import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { steerableMotionEndpoint } from "./endpoint.ts";

const image = (name: number) => `https://media.example/${name}.png`;
const motion = (projectId: string) => ({
  project_id: projectId,
  image_urls: [image(1), image(2), image(3)],
  base_prompts: ["a walk"],
  segment_frames: [61],
  frame_overlap: [10],
});

describeEndpoint(steerableMotionEndpoint, {
  async accepted(under) {
    const { projectId, session } = await under.person();
    return { body: motion(projectId), credentials: session };
  },
  cases: {
    "201: the payload that the shipped worker reads, with every default": async ({ call, person }) => {
      const { projectId, session } = await person();
      const { status, body, text } = await call(
        { ...motion(projectId), openai_api_key: "sk-secret" },
        session,
      );
      assert.equal(status, 201, text);
      const params = body["params"] as { task_id: string; orchestrator_details: Record<string, unknown> };
      const { run_id, ...details } = params.orchestrator_details;
      assert.match(
        params.task_id,
        new RegExp(`^sm_travel_orchestrator_${String(run_id).slice(2, 10)}_[0-9a-f]{6}$`),
      );
      const fade = JSON.stringify({
        low_point: 0,
        high_point: 1,
        curve_type: "ease_in_out",
        duration_factor: 0,
      });
      assert.deepEqual(details, {
        orchestrator_task_id: params.task_id,
        input_image_paths_resolved: [image(1), image(2), image(3)],
        num_new_segments_to_generate: 2,
        base_prompts_expanded: ["a walk", "a walk"],
        negative_prompts_expanded: ["", ""],
        segment_frames_expanded: [61, 61],
        frame_overlap_expanded: [10, 10],
        parsed_resolution_wh: "670x670",
        model_name: "vace_14B",
        seed_base: 789,
        steps: 20,
        apply_reward_lora: false,
        colour_match_videos: false,
        apply_causvid: false,
        use_lighti2x_lora: false,
        use_styleboost_loras: true,
        fade_in_params_json_str: fade,
        fade_out_params_json_str: fade,
        after_first_post_generation_saturation: 1,
        after_first_post_generation_brightness: 0,
        debug_mode_enabled: true,
        main_output_dir_for_run: "./outputs/default_travel_output",
        enhance_prompt: false,
        show_input_images: false,
        generation_mode: "batch",
        dimension_source: "project",
        accelerated_mode: false,
        model_type: "vace",
        chain_segments: true,
        independent_segments: false,
      });
      assert.equal(body["task_type"], "travel_orchestrator");
      assert.ok(!text.includes("sk-secret"), "a provider's key is not taken along");
    },
    "201: what was sent, a value for each segment, steps from the older parameters": async ({
      call,
      person,
      sql,
    }) => {
      const { projectId, session } = await person();
      const [shot] = await sql<
        { id: string }[]
      >`insert into shots (project_id) values (${projectId}) returning id`;
      const sent = {
        ...motion(projectId),
        base_prompts: ["a walk", "a run"],
        negative_prompts: ["fog", "rain"],
        segment_frames: [61, 33],
        frame_overlap: [10, 4],
        resolution: "512x768",
        seed: 5,
        params_json_str: '{"steps": 8}',
        fade_in_duration: { low_point: 0.1, high_point: 0.9, curve_type: "linear", duration_factor: 0.5 },
        fade_out_duration: '{"own": "text"}',
        loras: [{ path: "https://models.example/a", strength: 0.5 }],
        shot_id: shot?.id,
        add_in_position: true,
        debug: false,
      };
      const { body, text } = await call(sent, session);
      const details = (body["params"] as { orchestrator_details: Record<string, unknown> })
        .orchestrator_details;
      assert.deepEqual(
        [
          details?.["base_prompts_expanded"],
          details?.["negative_prompts_expanded"],
          details?.["segment_frames_expanded"],
          details?.["frame_overlap_expanded"],
          details?.["parsed_resolution_wh"],
          details?.["seed_base"],
          details?.["steps"],
          details?.["fade_in_params_json_str"],
          details?.["fade_out_params_json_str"],
          details?.["additional_loras"],
          details?.["shot_id"],
          details?.["add_in_position"],
          details?.["debug_mode_enabled"],
        ],
        [
          ["a walk", "a run"],
          ["fog", "rain"],
          [61, 33],
          [10, 4],
          "512x768",
          5,
          8,
          JSON.stringify(sent.fade_in_duration),
          '{"own": "text"}',
          { "https://models.example/a": 0.5 },
          shot?.id,
          true,
          false,
        ],
        text,
      );
      const explicit = await call({ ...sent, steps: 30 }, session);
      const one = await call({ ...motion(projectId), image_urls: [image(1)], params_json_str: "{" }, session);
      const of = (answer: typeof one) =>
        (answer.body["params"] as { orchestrator_details: Record<string, unknown> }).orchestrator_details;
      assert.equal(of(explicit)["steps"], 30);
      assert.deepEqual([of(one)["num_new_segments_to_generate"], of(one)["steps"]], [1, 20]);
    },
    "201: one key is one orchestration": async ({ call, refused, person }) => {
      const { projectId, session } = await person();
      const headers = { "idempotency-key": randomUUID() };
      const first = await call(motion(projectId), session, { headers });
      const second = await call(motion(projectId), session, { headers });
      assert.deepEqual(second.body, { ...first.body, deduplicated: true });
      await refused("idempotency_key_reused", { ...motion(projectId), seed: 1 }, session, { headers });
    },
    "400 invalid_request: nothing required is missing, and lists are of one or of every segment": async ({
      refused,
      person,
    }) => {
      const { projectId, session } = await person();
      const fine = motion(projectId);
      for (const name of Object.keys(fine)) {
        await refused("invalid_request", { ...fine, [name]: undefined }, session);
        if (name !== "project_id") await refused("invalid_request", { ...fine, [name]: [] }, session);
      }
      for (const name of ["base_prompts", "negative_prompts"]) {
        const { body } = await refused("invalid_request", { ...fine, [name]: ["a", "b", "c"] }, session);
        assert.deepEqual(body["issues"], [{ path: name, message: "has 3 entries: send 1 or 2" }]);
      }
      for (const url of ["file:///etc/passwd", "gopher://a", "javascript:0", "not an address"]) {
        await refused("invalid_request", { ...fine, image_urls: [url, image(1)] }, session);
      }
    },
    "402: no cover for its segments; in debt; a cap": async ({ refused, person, sql }) => {
      const poor = await person({ balanceMicrousd: 30_000 });
      await refused("insufficient_credits", motion(poor.projectId), poor.session);
      const capped = await person();
      await sql`select set_spend_cap(${capped.userId}, ${capped.projectId}, null, 30000)`;
      await refused("spend_cap_reached", motion(capped.projectId), capped.session);
      const owing = await person({ balanceMicrousd: 1 });
      await sql`select take_back_credit(${owing.userId}, 'refund', 2, null)`;
      await refused("account_in_debt", motion(owing.projectId), owing.session);
    },
    "404: a project or a shot that is unknown or somebody else's": async ({ refused, person, sql }) => {
      const [mine, other] = [await person(), await person()];
      const [foreign] = await sql<{ id: string }[]>`
        insert into shots (project_id) values (${other.projectId}) returning id`;
      for (const project of [randomUUID(), other.projectId]) {
        await refused("project_not_found", motion(project), mine.session);
      }
      for (const shot_id of [randomUUID(), foreign?.id]) {
        await refused("shot_not_found", { ...motion(mine.projectId), shot_id }, mine.session);
      }
    },
    "422 task_limit_reached: one task more than may be open": async ({ sql, call, refused, person }) => {
      const { projectId, session } = await person();
      await sql`update queue_settings set max_open_tasks = 1`;
      try {
        assert.equal((await call(motion(projectId), session)).status, 201);
        await refused("task_limit_reached", motion(projectId), session);
      } finally {
        await sql`update queue_settings set max_open_tasks = default`;
      }
    },
    "422 unpriced_value: a size for which a child has no price": async ({ refused, person }) => {
      const { projectId, session } = await person();
      await refused("unpriced_value", { ...motion(projectId), resolution: "4096x4096" }, session);
    },
    "422 unknown_task_type: where the operator has switched it off": async ({ refused, person, sql }) => {
      const { projectId, session } = await person();
      await sql`update task_types set is_active = false where name = 'travel_orchestrator'`;
      try {
        await refused("unknown_task_type", motion(projectId), session);
      } finally {
        await sql`update task_types set is_active = true where name = 'travel_orchestrator'`;
      }
    },
  },
});
