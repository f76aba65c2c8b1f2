import { z } from "zod";
import { AppError } from "../_shared/errors/app-error.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { text, timestamp, workerId } from "../_shared/http/fields.ts";
import { updateWorkerModel } from "../_shared/workers/update-worker-model.ts";

const model = text(200).trim();

/** The shipped worker says `model` where the name is `current_model`. Null or "" forgets it. */
const body = z.object({
  worker_id: workerId,
  current_model: model.nullish(),
  model: model.nullish(),
  instance_type: text(100).min(1).nullish(),
});

/** 200 noted · 403 not the service, or somebody's own worker */
export const updateWorkerModelEndpoint = endpoint({
  name: "update-worker-model",
  summary: "Notes the model that a cloud worker has loaded.",
  callers: ["service"],
  body,
  requestsPerMinute: 600,
  answers: {
    200: {
      description: "Noted; an unknown worker was registered.",
      schema: z.object({
        success: z.literal(true),
        worker_id: z.string(),
        current_model: z.string().nullable(),
        last_heartbeat: timestamp,
        action: z.enum(["updated", "inserted"]),
        message: z.string(),
      }),
    },
  },
  errors: [],
  async run({ body, database }) {
    const loaded = body.current_model === undefined ? body.model : body.current_model;
    if (loaded === undefined) {
      throw new AppError("invalid_request", { issues: [{ path: "current_model", message: "is required" }] });
    }
    return json(
      200,
      await updateWorkerModel(database, {
        workerId: body.worker_id,
        model: loaded || null,
        instanceType: body.instance_type ?? undefined,
      }),
    );
  },
});
