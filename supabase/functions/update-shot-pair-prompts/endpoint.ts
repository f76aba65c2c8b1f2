import { z } from "zod";
import { AppError } from "../_shared/errors/app-error.ts";
import { updateShotPairPrompts } from "../_shared/generations/update-shot-pair-prompts.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { text, uuid } from "../_shared/http/fields.ts";

const prompts = z
  .array(text(20_000).nullable())
  .max(1000)
  .describe("the first is of the way from the first image to the second; an empty one leaves what is there");

/** 200 how many were written · 404 unknown shot */
export const updateShotPairPromptsEndpoint = endpoint({
  name: "update-shot-pair-prompts",
  summary: "Writes prompts of transitions to the images of a shot.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:run",
  body: z.object({
    shot_id: uuid,
    enhanced_prompts: prompts.nullish(),
    pair_prompts: prompts.nullish(),
    task_id: text(200).nullish().describe("of the orchestrator that asks"),
  }),
  bodyLimit: 8 * 1024 * 1024,
  requestsPerMinute: 120,
  answers: {
    200: {
      description: "What was written; images count that stand on the timeline and are no videos.",
      schema: z.object({
        success: z.literal(true),
        shot_id: uuid,
        updated_count: z.int(),
        skipped_count: z.int().describe("images without a prompt"),
        failed_count: z.literal(0),
        image_count: z.int(),
        unused_count: z.int().describe("prompts beyond the last image"),
        message: z.string(),
      }),
    },
  },
  errors: ["insufficient_scope", "shot_not_found"],
  async run({ body, caller, database }) {
    if (!body.enhanced_prompts && !body.pair_prompts) {
      throw new AppError("invalid_request", {
        issues: [{ path: "enhanced_prompts", message: "send these or pair_prompts" }],
      });
    }
    const written = await updateShotPairPrompts(database, caller, body.shot_id, {
      enhanced: body.enhanced_prompts?.map((prompt) => prompt ?? ""),
      pair: body.pair_prompts?.map((prompt) => prompt ?? ""),
    });
    return json(200, written);
  },
});
