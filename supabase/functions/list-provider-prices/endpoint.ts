import { z } from "zod";
import { providerPriceSummary } from "../_shared/credits/provider-price-shapes.ts";
import { listProviderPrices } from "../_shared/credits/provider-prices.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { text } from "../_shared/http/fields.ts";

/** 200 the price list */
export const listProviderPricesEndpoint = endpoint({
  name: "list-provider-prices",
  summary: "Lists what providers bill the operator for each model, and the prices that are announced.",
  callers: ["service"],
  body: z.object({ provider: text(50).min(1).nullish().describe("such as fal; default: all") }),
  bodyOptional: true,
  unknownFields: "refused",
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "The list.",
      schema: z.object({
        currency: z.literal("usd"),
        prices: z.array(
          providerPriceSummary.extend({
            in_force: z.boolean().describe("false: the model's first price is yet to come"),
            announced: z.array(providerPriceSummary).describe("versions whose time has not come"),
          }),
        ),
      }),
    },
  },
  errors: [],
  async run({ body, database }) {
    return json(200, await listProviderPrices(database, body.provider ?? undefined));
  },
});
