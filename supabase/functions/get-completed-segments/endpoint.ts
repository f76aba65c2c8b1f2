import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { text, uuid } from "../_shared/http/fields.ts";
import { getCompletedSegments } from "../_shared/tasks/get-completed-segments.ts";

/** 200 the finished segments of a run · 404 foreign project */
export const getCompletedSegmentsEndpoint = endpoint({
  name: "get-completed-segments",
  summary: "Lists the outputs of a travel run's finished segments.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:read",
  body: z.object({
    run_id: text(300).min(1).describe("`orchestrator_run_id` in the segments' params"),
    project_id: z
      .union([uuid, z.literal("default_project_id"), z.literal("")])
      .nullish()
      .describe("of this project alone; else of all that are the caller's"),
  }),
  requestsPerMinute: 1200,
  answers: {
    200: {
      description: "By segment index; without those that are not complete or have no output; at most 10,000.",
      schema: z.array(z.object({ segment_index: z.int(), output_location: z.string() })),
    },
  },
  errors: ["insufficient_scope", "project_not_found"],
  async run({ body, caller, database }) {
    // Workers that know no project say so by this text.
    const projectId = body.project_id === "default_project_id" ? undefined : body.project_id || undefined;
    return json(200, await getCompletedSegments(database, caller, { runId: body.run_id, projectId }));
  },
});
