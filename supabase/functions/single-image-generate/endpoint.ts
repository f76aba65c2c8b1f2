import { z } from "zod";
import { generate } from "../_shared/generators/generate.ts";
import { generatedAnswer } from "../_shared/generators/generated-answer.ts";
import { generated } from "../_shared/generators/generated-shapes.ts";
import { buildSingleImages, singleImageInput } from "../_shared/generators/single-image.ts";
import { endpoint, idempotencyKeyOf, json } from "../_shared/http/endpoint.ts";
import { pictureWarning } from "../_shared/pictures/shapes.ts";

/** 201 the first task and the ids of all · 402 no cover · 404 foreign project or shot · 422 unknown model, reused key, switched off */
export const singleImageGenerateEndpoint = endpoint({
  name: "single-image-generate",
  summary: "Generates images: a task for each prompt and image, all or none.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:write",
  body: singleImageInput,
  requestsPerMinute: 120,
  answers: {
    201: {
      description: "The queued tasks.",
      schema: generated.extend({
        warnings: z.array(pictureWarning).describe("what the model does not do of the request"),
      }),
    },
  },
  errors: [
    "insufficient_credits",
    "account_in_debt",
    "spend_cap_reached",
    "insufficient_scope",
    "project_not_found",
    "shot_not_found",
    "unknown_task_type",
    "task_limit_reached",
    "unpriced_value",
    "unsupported_by_model",
    "idempotency_key_reused",
  ],
  async run({ body, caller, database, headers }) {
    const tasks = await generate(database, caller, {
      projectId: body.project_id,
      named: body.shot_id ? [{ field: "shot_id", kind: "shot", id: body.shot_id }] : [],
      idempotencyKey: idempotencyKeyOf(body.idempotency_key, headers),
      sent: body,
      withRows: true,
      build: (place) => buildSingleImages(body, place),
    });
    return json(201, { ...generatedAnswer(tasks), warnings: tasks.meta["warnings"] });
  },
});
