import { generate } from "../_shared/generators/generate.ts";
import { generatedAnswer } from "../_shared/generators/generated-answer.ts";
import { generated } from "../_shared/generators/generated-shapes.ts";
import { buildSteerableMotion, steerableMotionInput } from "../_shared/generators/steerable-motion.ts";
import { endpoint, idempotencyKeyOf, json } from "../_shared/http/endpoint.ts";

/** 201 the orchestrator's task · 402 no cover · 404 foreign project or shot · 422 reused key, switched off */
export const steerableMotionEndpoint = endpoint({
  name: "steerable-motion",
  summary: "Generates a video through images: one orchestration, with a segment between each two.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:write",
  body: steerableMotionInput,
  requestsPerMinute: 120,
  answers: { 201: { description: "The queued task.", schema: generated } },
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
    "idempotency_key_reused",
  ],
  async run({ body, caller, database, headers }) {
    const tasks = await generate(database, caller, {
      projectId: body.project_id,
      named: body.shot_id ? [{ field: "shot_id", kind: "shot", id: body.shot_id }] : [],
      idempotencyKey: idempotencyKeyOf(body.idempotency_key, headers),
      sent: body,
      withRows: true,
      build: (place) => ({ tasks: buildSteerableMotion(body, place) }),
    });
    return json(201, generatedAnswer(tasks));
  },
});
