import { z } from "zod";
import { actor } from "../_shared/credits/actor.ts";
import { providerPrice, providerPriceSummary } from "../_shared/credits/provider-price-shapes.ts";
import { publishProviderPrice } from "../_shared/credits/provider-prices.ts";
import { AppError } from "../_shared/errors/app-error.ts";
import { endpoint, idempotencyKeyOf, json } from "../_shared/http/endpoint.ts";
import { idempotencyKey, text } from "../_shared/http/fields.ts";

const body = z.object({
  ...providerPrice,
  variant_prices: z
    .record(z.string(), z.number())
    .nullish()
    .describe("micro-dollars of one unit by variant, such as 720p; default: none"),
  minimum_units: z
    .number()
    .min(0)
    .max(1_000_000)
    .nullish()
    .describe("a job counts at least so many; default: 0"),
  job_fee_microusd: z.int().min(0).max(1_000_000_000).nullish().describe("of each job; default: 0"),
  note: text(500).nullish().describe("another currency and how it was converted; what is estimated"),
  source_url: text(500).nullish().describe("where the provider publishes the price"),
  valid_from: z.iso.datetime({ offset: true }).nullish().describe("default: now; not in the past"),
  reason: text(500).trim().min(1),
  actor: actor.nullish(),
  idempotency_key: idempotencyKey,
});

/** 200 the version, made now or before · 422 wrong variants, a time that is past, key of another price */
export const publishProviderPriceEndpoint = endpoint({
  name: "publish-provider-price",
  summary: "Publishes a new version of what a provider bills for a model, from now or from a later time on.",
  callers: ["service"],
  body,
  unknownFields: "refused",
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "The version. Jobs that were submitted before keep their cost.",
      schema: providerPriceSummary.extend({ deduplicated: z.boolean() }),
    },
  },
  errors: ["invalid_variant_prices", "price_in_the_past", "idempotency_key_reused"],
  async run({ body, database, headers }) {
    const key = idempotencyKeyOf(body.idempotency_key, headers);
    if (!key) {
      throw new AppError("invalid_request", {
        issues: [{ path: "idempotency_key", message: "is required" }],
      });
    }
    const published = await publishProviderPrice(database, {
      price: {
        provider: body.provider,
        model: body.model,
        unit: body.unit,
        price_microusd: body.price_microusd,
        variant_prices: body.variant_prices ?? undefined,
        minimum_units: body.minimum_units ?? undefined,
        job_fee_microusd: body.job_fee_microusd ?? undefined,
        note: body.note ?? undefined,
        source_url: body.source_url ?? undefined,
        valid_from: body.valid_from ?? undefined,
      },
      reason: body.reason,
      actor: body.actor ?? undefined,
      idempotencyKey: key,
    });
    return json(200, published);
  },
});
