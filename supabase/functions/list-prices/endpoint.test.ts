import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { createProcessLimit } from "../_shared/limits/process-limit.ts";
import { listPricesEndpoint } from "./endpoint.ts";

type Prices = Record<string, unknown>[];

describeEndpoint(listPricesEndpoint, {
  accepted: () => Promise.resolve({ body: {}, credentials: {} }),
  cases: {
    "200: every type that has a price, in credits and micro-dollars; for caches too": async ({
      sql,
      call,
    }) => {
      const { body, headers } = await call(undefined, {}, { method: "GET" });
      assert.equal(headers.get("cache-control"), "public, max-age=60");
      const prices = body["prices"] as Prices;
      const priced = await sql<{ name: string }[]>`
        select name from task_types as kind
         where is_active and alias_of is null and category <> 'orchestration'
           and exists (select from task_type_prices where task_type = kind.name) order by name`;
      assert.ok(priced.length > 10);
      assert.deepEqual(
        prices.map(({ task_type }) => task_type).toSorted(),
        priced.map(({ name }) => name).toSorted(),
      );
      const image = prices.find(({ task_type }) => task_type === "qwen_image");
      assert.deepEqual(
        [image?.["price"], image?.["price_microusd"], image?.["unit"], image?.["announced"]],
        [3.9, 39_000, "output", []],
      );
    },
    "200: a new price is shown as announced until its time, then as the price": async ({ sql, call }) => {
      await sql`select publish_price('qwen_image', 'per_unit', 50000, '{}', now() + interval '1 hour', 'test', 'dearer',
                                     ${randomUUID()})`;
      const shown = async () => {
        const { body } = await call({}, {});
        const price = (body["prices"] as Prices).find(({ task_type }) => task_type === "qwen_image");
        const announced = price?.["announced"] as Prices | undefined;
        return [price?.["price_microusd"], announced?.map(({ price_microusd }) => price_microusd)];
      };
      assert.deepEqual(await shown(), [39_000, [50_000]]);
      // Prices are append-only: the past is made by moving the one of later, with the trigger asleep.
      await sql.transaction(async (transaction) => {
        await transaction`set local session_replication_role = 'replica'`;
        await transaction`update task_type_prices set valid_from = now() where price_microusd = 50000`;
      });
      assert.deepEqual(await shown(), [50_000, []]);
    },
    "429: beyond what the process serves, whoever asks and whatever address they claim": async ({
      call,
      refused,
      person,
    }) => {
      const options = {
        contract: { requestsPerMinute: 2 },
        environment: { processLimit: createProcessLimit() },
      };
      await call({}, {}, options);
      await call({}, (await person()).session, options);
      await refused("rate_limited", {}, { "x-forwarded-for": "203.0.113.9" }, options);
    },
  },
});
