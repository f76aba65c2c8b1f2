import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { json } from "../_shared/database/sql.ts";
import { listProviderPricesEndpoint } from "./endpoint.ts";

type Prices = Record<string, unknown>[];

describeEndpoint(listProviderPricesEndpoint, {
  accepted: ({ service }) => Promise.resolve({ body: { provider: "fal" }, credentials: service }),
  cases: {
    "200: what each model costs, from where that is known, and what is announced; of one provider or all":
      async ({ sql, call, service }) => {
        const announce = (model: string, from: string) => sql`
        select publish_provider_price(
          ${json({ provider: "acme", model, unit: "second", price_microusd: 5, variant_prices: { "720p": 7 }, valid_from: from })},
          'ada', 'test', ${randomUUID()})`;
        await announce("acme/films", new Date().toISOString());
        await announce("acme/films", new Date(Date.now() + 86_400_000).toISOString());
        await announce("acme/pictures", new Date(Date.now() + 86_400_000).toISOString());
        const prices = (await call({ provider: "acme" }, service)).body["prices"] as Prices;
        assert.deepEqual(
          prices.map(({ model, version, in_force, announced }) => [
            model,
            version,
            in_force,
            (announced as Prices).map((later) => later["version"]),
          ]),
          [
            ["acme/films", 1, true, [2]],
            ["acme/pictures", 1, false, [1]],
          ],
        );
        assert.deepEqual(prices[0]?.["variant_prices"], { "720p": 7 });
        const all = (await call({}, service)).body["prices"] as Prices;
        assert.ok(all.length > prices.length && all.some(({ provider }) => provider === "fal"));
        for (const { source_url } of all.filter(({ provider }) => provider === "fal")) {
          assert.match(String(source_url), /^https:\/\/fal\.ai\/models\//);
        }
      },
  },
});
