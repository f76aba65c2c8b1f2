import { z } from "zod";
import { text, timestamp, uuid } from "../http/fields.ts";
import { sendErrors } from "./sender.ts";

/** What an endpoint may subscribe to: the `type` of its messages. */
export const webhookEvents = [
  "task.queued",
  "task.in_progress",
  "task.complete",
  "task.failed",
  "task.cancelled",
] as const;

export const webhookUrl = text(2000).min(1).describe("an HTTPS address with a public name");
export const webhookDescription = text(500);
export const eventList = z
  .array(z.enum(webhookEvents))
  .min(1)
  .max(webhookEvents.length)
  .describe("which changes of status to be told of");

const summary = {
  webhook_id: uuid,
  project_id: uuid,
  url: z.string(),
  description: z.string().nullable(),
  events: z.array(z.enum(webhookEvents)),
  enabled: z.boolean(),
  disabled_at: timestamp.nullable(),
  disabled_reason: z
    .enum(["owner", "gone", "failing"])
    .nullable()
    .describe("by its owner; it answered 410; it failed for five days"),
  failing_since: timestamp.nullable().describe("the first failure since the last success"),
  created_at: timestamp,
  updated_at: timestamp,
};

/** What is shown of an endpoint. */
export const webhookSummary = z.object(summary);

export const webhookWithSecret = z.object({
  ...summary,
  secret: z.string().describe("`whsec_…`, to verify signatures with; shown now and never again"),
});

export const deliveryStates = ["pending", "delivered", "failed"] as const;

export const deliverySummary = z.object({
  delivery_id: uuid.describe("the `webhook-id` of every attempt"),
  type: z.string(),
  task_id: uuid.nullable(),
  seq: z.int(),
  state: z.enum(deliveryStates),
  attempts: z.int(),
  next_attempt_at: timestamp.nullable(),
  delivered_at: timestamp.nullable(),
  created_at: timestamp,
  payload: z.record(z.string(), z.unknown()),
  history: z.array(
    z.object({
      attempt: z.int(),
      status_code: z.int().nullable(),
      error: z.enum(sendErrors).nullable().describe("why there was no answer"),
      duration_ms: z.int(),
      attempted_at: timestamp,
    }),
  ),
});
