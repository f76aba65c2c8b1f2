import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint, type EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import type { TestUser } from "../../../test/support/factories.ts";
import { updateShotPairPromptsEndpoint } from "./endpoint.ts";

/** A shot with things on its timeline, by type and frame. */
async function shotOf(
  { sql }: EndpointUnderTest,
  { projectId }: TestUser,
  things: [type: string, frame: number | null][],
): Promise<string> {
  const [shot] = await sql<
    { id: string }[]
  >`insert into shots (project_id) values (${projectId}) returning id`;
  for (const [type, frame] of things) {
    const location = `https://media.example/${randomUUID()}.${type === "clip" ? "mp4" : "png"}`;
    await sql`
      with made as (
        insert into generations (project_id, type, location)
        values (${projectId}, ${type === "clip" ? null : type}, ${location}) returning id)
      insert into shot_generations (shot_id, generation_id, timeline_frame, metadata)
      select ${shot?.id ?? ""}, id, ${frame}, '{"kept": true, "enhanced_prompt": "old"}' from made`;
  }
  return shot?.id ?? "";
}

async function metadataOf({ sql }: EndpointUnderTest, shot: string) {
  const rows = await sql`
    select metadata from shot_generations where shot_id = ${shot} order by timeline_frame nulls last, id`;
  return rows.map((row) => row["metadata"] as Record<string, unknown>);
}

describeEndpoint(updateShotPairPromptsEndpoint, {
  async accepted(under) {
    const person = await under.person();
    const shot_id = await shotOf(under, person, [["image", 0]]);
    return { body: { shot_id, enhanced_prompts: ["a slow pan"] }, credentials: person.session };
  },
  cases: {
    "200: writes to images in the order of the timeline, and leaves what is empty or no image": async (
      under,
    ) => {
      const person = await under.person();
      const shot_id = await shotOf(under, person, [
        ["image", 100],
        ["image", 0],
        ["video", 50],
        ["clip", 60],
        ["image", -5],
        ["image", null],
        ["image", 200],
      ]);
      const { body } = await under.call(
        {
          shot_id,
          task_id: randomUUID(),
          enhanced_prompts: ["first", " ", "third", "beyond"],
          pair_prompts: [null, "second"],
        },
        under.service,
      );
      assert.deepEqual(
        { ...body, message: undefined },
        {
          success: true,
          shot_id,
          updated_count: 3,
          skipped_count: 0,
          failed_count: 0,
          image_count: 3,
          unused_count: 1,
          message: undefined,
        },
      );
      const old = { kept: true, enhanced_prompt: "old" };
      assert.deepEqual(await metadataOf(under, shot_id), [
        old,
        { kept: true, enhanced_prompt: "first" },
        old,
        old,
        { ...old, pair_prompt: "second" },
        { kept: true, enhanced_prompt: "third" },
        old,
      ]);
      const again = await under.call({ shot_id, enhanced_prompts: ["first"] }, under.service);
      assert.deepEqual([again.body["updated_count"], again.body["skipped_count"]], [1, 2]);
    },
    "200: nothing to write in a shot without images": async (under) => {
      const person = await under.person();
      const shot_id = await shotOf(under, person, []);
      const { credentials } = await person.token(["tasks:run"]);
      const { body } = await under.call({ shot_id, enhanced_prompts: ["first"] }, credentials);
      assert.deepEqual([body["updated_count"], body["image_count"], body["unused_count"]], [0, 0, 1]);
    },
    "400 invalid_request: neither list, or too many prompts": async (under) => {
      const person = await under.person();
      const shot_id = await shotOf(under, person, []);
      await under.refused("invalid_request", { shot_id }, person.session);
      await under.refused("invalid_request", { shot_id, enhanced_prompts: "first" }, person.session);
      await under.refused(
        "invalid_request",
        { shot_id, enhanced_prompts: Array.from({ length: 1001 }, () => "x") },
        person.session,
      );
    },
    "404 shot_not_found: unknown and foreign alike": async (under) => {
      const [mine, other] = [await under.person(), await under.person()];
      const theirs = await shotOf(under, other, [["image", 0]]);
      for (const shot_id of [randomUUID(), theirs]) {
        await under.refused("shot_not_found", { shot_id, enhanced_prompts: ["x"] }, mine.session);
      }
      assert.deepEqual(await metadataOf(under, theirs), [{ kept: true, enhanced_prompt: "old" }]);
      await under.refused(
        "shot_not_found",
        { shot_id: randomUUID(), enhanced_prompts: ["x"] },
        under.service,
      );
    },
  },
});
