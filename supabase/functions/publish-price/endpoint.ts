import { z } from "zod";
import { credits, microusdOf } from "../_shared/credits/amounts.ts";
import { actor } from "../_shared/credits/actor.ts";
import { priceSummary } from "../_shared/credits/price-shapes.ts";
import { publishPrice } from "../_shared/credits/publish-price.ts";
import { AppError } from "../_shared/errors/app-error.ts";
import { endpoint, idempotencyKeyOf, json } from "../_shared/http/endpoint.ts";
import { idempotencyKey, text } from "../_shared/http/fields.ts";

const body = z
  .object({
    task_type: text(100).min(1),
    billing_type: z.enum(["per_unit", "per_second"]),
    price: credits(100_000)
      .nullish()
      .describe("credits (US cents) of one output or one second, with at most four decimals"),
    price_microusd: z
      .int()
      .min(0)
      .max(1_000_000_000)
      .nullish()
      .describe("the same in micro-dollars; one of both"),
    cost_factors: z
      .record(z.string(), z.record(z.string(), z.number()))
      .nullish()
      .describe("what params multiply the price by; none unless said"),
    reuse_price: credits(100_000)
      .nullish()
      .describe("credits of an output that an earlier task made; 0 unless said, and never more than its run"),
    reuse_price_microusd: z
      .int()
      .min(0)
      .max(1_000_000_000)
      .nullish()
      .describe("the same in micro-dollars; at most one of both"),
    cancel_policy: z
      .enum(["consumed", "free"])
      .nullish()
      .describe("what a run costs that its owner cancels; default: consumed"),
    blacked_out_policy: z
      .enum(["free", "charged"])
      .nullish()
      .describe("what an output costs that a provider's safety checker made black; default: free"),
    valid_from: z.iso.datetime({ offset: true }).nullish().describe("now unless said; not in the past"),
    reason: text(500).trim().min(1),
    actor: actor.nullish(),
    idempotency_key: idempotencyKey,
  })
  .superRefine(({ price, price_microusd, reuse_price, reuse_price_microusd }, context) => {
    if (countOf(price, price_microusd) !== 1) {
      context.addIssue({ code: "custom", path: ["price"], message: "send either price or price_microusd" });
    }
    if (countOf(reuse_price, reuse_price_microusd) > 1) {
      context.addIssue({
        code: "custom",
        path: ["reuse_price"],
        message: "send either reuse_price or reuse_price_microusd",
      });
    }
  });

function countOf(...amounts: (number | null | undefined)[]): number {
  return amounts.filter((amount) => amount !== undefined && amount !== null).length;
}

/** 200 the version, made now or before · 422 unknown type, wrong factors, a time that is past, key of another price */
export const publishPriceEndpoint = endpoint({
  name: "publish-price",
  summary: "Publishes a new version of a task type's price, from now or from a later time on.",
  callers: ["service"],
  body,
  unknownFields: "refused",
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "The version. Tasks and quotes that exist keep theirs.",
      schema: priceSummary.extend({ deduplicated: z.boolean() }),
    },
  },
  errors: ["unknown_task_type", "invalid_cost_factors", "price_in_the_past", "idempotency_key_reused"],
  async run({ body, database, headers }) {
    const key = idempotencyKeyOf(body.idempotency_key, headers);
    if (!key) {
      throw new AppError("invalid_request", {
        issues: [{ path: "idempotency_key", message: "is required" }],
      });
    }
    const published = await publishPrice(database, {
      taskType: body.task_type,
      billingType: body.billing_type,
      priceMicrousd: body.price_microusd ?? microusdOf(body.price ?? 0),
      costFactors: body.cost_factors ?? {},
      reusePriceMicrousd: body.reuse_price_microusd ?? microusdOf(body.reuse_price ?? 0),
      cancelPolicy: body.cancel_policy ?? "consumed",
      blackedOutPolicy: body.blacked_out_policy ?? "free",
      validFrom: body.valid_from ?? undefined,
      reason: body.reason,
      actor: body.actor ?? undefined,
      idempotencyKey: key,
    });
    return json(200, published);
  },
});
