import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { publishProviderPriceEndpoint } from "./endpoint.ts";

const newPrice = (fields: Record<string, unknown> = {}) => ({
  provider: "fal",
  model: "fal-ai/qwen-image",
  unit: "megapixel",
  price_microusd: 21_000,
  reason: "FAL's new price",
  idempotency_key: randomUUID(),
  ...fields,
});

describeEndpoint(publishProviderPriceEndpoint, {
  accepted({ service }) {
    return Promise.resolve({ body: newPrice(), credentials: service });
  },
  cases: {
    "200: the next version, in force at once, with everything that was said": async ({
      sql,
      call,
      service,
    }) => {
      const before = await call(newPrice(), service);
      const said = {
        unit: "second",
        price_microusd: 80_000,
        variant_prices: { "480p": 40_000 },
        minimum_units: 2.5,
        job_fee_microusd: 100,
        note: "estimated",
        source_url: "https://fal.ai/models/fal-ai/qwen-image",
      };
      const { body } = await call(newPrice({ ...said, actor: "ada" }), service);
      assert.equal(body["version"], Number(before.body["version"]) + 1);
      for (const [name, value] of Object.entries(said)) assert.deepEqual(body[name], value, name);
      assert.deepEqual([body["published_by"], body["deduplicated"]], ["ada", false]);
      const [row] = await sql<{ cost: number }[]>`
        select cost_of_provider_call('fal', 'fal-ai/qwen-image', '{"seconds": 1, "variant": "480p"}')::int as cost`;
      assert.equal(row?.cost, 100_100);
    },
    "200: the same key and content again is the same version, also in the header": async ({
      sql,
      call,
      service,
    }) => {
      const { idempotency_key, ...price } = newPrice();
      const headers = { "idempotency-key": idempotency_key };
      const first = await call(price, service, { headers });
      const second = await call(price, service, { headers });
      assert.deepEqual(second.body, { ...first.body, deduplicated: true });
      const versions = await sql`select from provider_prices where idempotency_key = ${idempotency_key}`;
      assert.equal(versions.length, 1);
    },
    "400 invalid_request: another unit, amounts out of range, no reason, no key": async ({
      refused,
      service,
    }) => {
      for (const wrong of [
        { unit: "hour" },
        { price_microusd: -1 },
        { price_microusd: 0.5 },
        { minimum_units: -1 },
        { model: "qwen" },
        { provider: "FAL" },
        { variant_prices: { "720p": "dear" } },
        { reason: " " },
        { idempotency_key: undefined },
        { valid_from: "tomorrow" },
      ]) {
        await refused("invalid_request", newPrice(wrong), service);
      }
    },
    "422 invalid_variant_prices: not whole, below zero, too large": async ({ refused, service }) => {
      for (const price of [0.5, -1, 1_000_000_001]) {
        await refused("invalid_variant_prices", newPrice({ variant_prices: { "720p": price } }), service);
      }
    },
    "422 price_in_the_past": async ({ refused, service }) => {
      await refused("price_in_the_past", newPrice({ valid_from: "2026-01-01T00:00:00Z" }), service);
    },
    "422 idempotency_key_reused: for another price, model, time, reason or actor": async ({
      call,
      refused,
      service,
    }) => {
      const first = newPrice();
      await call(first, service);
      for (const other of [
        { price_microusd: 1 },
        { model: "fal-ai/qwen-image-edit" },
        { unit: "image" },
        { variant_prices: { "720p": 1 } },
        { job_fee_microusd: 1 },
        { minimum_units: 1 },
        { note: "another" },
        { reason: "another" },
        { actor: "bob" },
        { valid_from: new Date(Date.now() + 60_000).toISOString() },
      ]) {
        await refused("idempotency_key_reused", { ...first, ...other }, service);
      }
    },
  },
});
