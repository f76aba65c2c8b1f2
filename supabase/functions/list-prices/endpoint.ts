import { z } from "zod";
import { amountsOfWork } from "../_shared/credits/amount-shapes.ts";
import { listPrices } from "../_shared/credits/list-prices.ts";
import { priceSummary } from "../_shared/credits/price-shapes.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";

/** 200 the price list */
export const listPricesEndpoint = endpoint({
  name: "list-prices",
  summary: "Lists what every task type costs now, and the prices that are announced.",
  methods: ["GET", "POST"],
  callers: ["anyone"],
  body: z.object({}),
  bodyOptional: true,
  requestsPerMinute: 3000,
  answers: {
    200: {
      description: "The list; it may be kept for a minute.",
      schema: z.object({
        currency: z.literal("usd"),
        unit: z.literal("credits"),
        prices: z.array(
          priceSummary.extend({
            display_name: z.string().nullable(),
            run_type: z.enum(["gpu", "api"]),
            category: z.string(),
            content_type: z.string().nullable(),
            is_visible: z.boolean(),
            expected_seconds: z.int().describe("how long a run is expected to take"),
            max_runtime_seconds: z.int().describe("the longest run that is paid"),
            ...amountsOfWork,
            announced: z.array(priceSummary).describe("versions whose time has not come"),
          }),
        ),
      }),
    },
  },
  errors: [],
  async run({ database }) {
    const response = json(200, await listPrices(database));
    response.headers.set("cache-control", "public, max-age=60");
    return response;
  },
});
