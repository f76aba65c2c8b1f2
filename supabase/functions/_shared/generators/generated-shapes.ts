import { z } from "zod";
import { quotedAmounts } from "../credits/amount-shapes.ts";
import { taskStatus, timestamp, uuid } from "../http/fields.ts";

/** 201: the first task's row, as readers see it, and the ids of all. */
export const generated = z.looseObject({
  id: uuid.describe("the same as task_id"),
  task_id: uuid,
  task_ids: z.array(uuid),
  task_type: z.string(),
  project_id: uuid,
  status: taskStatus,
  params: z.record(z.string(), z.unknown()),
  dependant_on: z.array(uuid).nullable(),
  output_location: z.string().nullable(),
  created_at: timestamp,
  updated_at: timestamp,
  ...quotedAmounts,
  deduplicated: z.boolean().describe("true when this answers a repeated request"),
});
