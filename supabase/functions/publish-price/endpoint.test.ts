import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { publishPriceEndpoint } from "./endpoint.ts";

const newPrice = (fields: Record<string, unknown> = {}) => ({
  task_type: "qwen_image",
  billing_type: "per_unit",
  price: 4.2,
  reason: "dearer GPUs",
  idempotency_key: randomUUID(),
  ...fields,
});

describeEndpoint(publishPriceEndpoint, {
  accepted({ service }) {
    return Promise.resolve({ body: newPrice(), credentials: service });
  },
  cases: {
    "200: the next version, in force at once, with who published it and why": async ({
      sql,
      call,
      service,
    }) => {
      const before = await call(newPrice(), service);
      const factors = { resolution: { "2x": 2 } };
      const { body } = await call(newPrice({ price: 5, cost_factors: factors, actor: "ada" }), service);
      assert.equal(body["version"], Number(before.body["version"]) + 1);
      assert.deepEqual(
        [body["price"], body["price_microusd"], body["unit"], body["cost_factors"], body["deduplicated"]],
        [5, 50_000, "output", { resolution: { "2x": 2 } }, false],
      );
      const [row] = await sql`
        select published_by, reason from task_type_prices
         where task_type = 'qwen_image' and version = ${Number(body["version"])}`;
      assert.deepEqual({ ...row }, { published_by: "ada", reason: "dearer GPUs" });
      const [inForce] = await sql<{ version: number }[]>`select (current_price('qwen_image')).version`;
      assert.equal(inForce?.version, body["version"]);
    },
    "200: prices in credits and in micro-dollars arrive as they were said, to the last digit": async ({
      call,
      service,
    }) => {
      for (const [price, microusd] of [
        [0.0278, 278],
        [0.0001, 1],
        [1.005, 10_050],
        [0.29, 2_900],
        [8.1234, 81_234],
        [99_999.9999, 999_999_999],
        [0, 0],
      ]) {
        const billing = { task_type: "travel_segment", billing_type: "per_second" };
        const inCredits = await call(newPrice({ ...billing, price }), service);
        assert.deepEqual([inCredits.body["price"], inCredits.body["price_microusd"]], [price, microusd]);
        const exact = newPrice({ ...billing, price: null, price_microusd: microusd });
        assert.deepEqual([(await call(exact, service)).body["price"]], [price]);
      }
    },
    "200: what a reuse costs, in credits or micro-dollars; nothing unless said": async ({
      call,
      service,
    }) => {
      for (const [fields, credits, microusd] of [
        [{ reuse_price: 0.25 }, 0.25, 2_500],
        [{ reuse_price_microusd: 1 }, 0.0001, 1],
        [{}, 0, 0],
      ] as const) {
        const { body } = await call(newPrice(fields), service);
        assert.deepEqual([body["reuse_price"], body["reuse_price_microusd"]], [credits, microusd]);
      }
    },
    "200: the same key and content again is the same version, also in the header": async ({
      call,
      service,
      sql,
    }) => {
      const { idempotency_key, ...price } = newPrice({ valid_from: new Date().toISOString() });
      const headers = { "idempotency-key": idempotency_key };
      const first = await call(price, service, { headers });
      const second = await call(price, service, { headers });
      assert.deepEqual(second.body, { ...first.body, deduplicated: true });
      const versions = await sql`select from task_type_prices where idempotency_key = ${idempotency_key}`;
      assert.equal(versions.length, 1);
    },
    "a prompt has a price per question, and nothing that multiplies it": async ({
      sql,
      call,
      refused,
      service,
    }) => {
      const prompt = { task_type: "ai-prompt", billing_type: "per_unit", price: 0.1, cost_factors: {} };
      for (const wrong of [
        { billing_type: "per_second" },
        { cost_factors: { images: { included: 1, each: 0.5 } } },
      ]) {
        await refused("invalid_cost_factors", newPrice({ ...prompt, ...wrong }), service);
      }
      const { body } = await call(newPrice(prompt), service);
      assert.deepEqual([body["task_type"], body["price_microusd"]], ["ai-prompt", 1_000]);
      const [listed] = await sql<{ price: { price_microusd: number } }[]>`
        select price from jsonb_array_elements(list_prices() -> 'prices') as price where price ->> 'task_type' = 'ai-prompt'`;
      assert.equal(listed?.price.price_microusd, 1_000);
    },
    "200: a price of later is announced, and not in force": async ({ sql, call, service }) => {
      const valid_from = new Date(Date.now() + 86_400_000).toISOString();
      const { body } = await call(newPrice({ task_type: "z_image_turbo", valid_from }), service);
      assert.equal(Date.parse(String(body["valid_from"])), Date.parse(valid_from));
      const [row] = await sql<{ version: number }[]>`select (current_price('z_image_turbo')).version`;
      assert.notEqual(row?.version, body["version"]);
    },
    "400 invalid_request: both prices, none, finer than a micro-dollar, no reason, no key": async ({
      refused,
      service,
    }) => {
      for (const wrong of [
        { price_microusd: 5 },
        { price: null },
        { price: 0.00001 },
        { price: 0.02785 },
        { price: -1 },
        { price: 100_000.1 },
        { reuse_price: -1 },
        { reuse_price: 1, reuse_price_microusd: 10_000 },
        { price: null, price_microusd: 1.5 },
        { reason: " " },
        { reason: undefined },
        { idempotency_key: undefined },
        { billing_type: "per_hour" },
        { cost_factors: { resolution: { "2x": "double" } } },
        { valid_from: "tomorrow" },
      ]) {
        await refused("invalid_request", newPrice(wrong), service);
      }
      const headers = { "idempotency-key": "k".repeat(201) };
      await refused("invalid_request", newPrice({ idempotency_key: undefined }), service, { headers });
    },
    "422 unknown_task_type": async ({ refused, service }) => {
      await refused("unknown_task_type", newPrice({ task_type: "no_such_type" }), service);
    },
    "422 invalid_cost_factors: names that no param has, factors out of range, too many": async ({
      refused,
      service,
    }) => {
      const many = Object.fromEntries(Array.from({ length: 1000 }, (_, size) => [`${size}x${size}`, 1.5]));
      for (const cost_factors of [
        { colour: { red: 2 } },
        { resolution: { "2x": 1001 } },
        { resolution: { "2x": -1 } },
        { frames: { each: 1 } },
        { resolution: many },
      ]) {
        await refused("invalid_cost_factors", newPrice({ cost_factors }), service);
      }
    },
    "422 price_in_the_past": async ({ refused, service }) => {
      await refused("price_in_the_past", newPrice({ valid_from: "2026-01-01T00:00:00Z" }), service);
    },
    "422 idempotency_key_reused: for another price, type, time, reason or actor": async ({
      call,
      refused,
      service,
    }) => {
      const first = newPrice();
      await call(first, service);
      for (const other of [
        { price: 4.3 },
        { task_type: "z_image_turbo" },
        { billing_type: "per_second" },
        { reason: "another" },
        { actor: "bob" },
        { cost_factors: { model: { big: 2 } } },
        { reuse_price: 1 },
        { valid_from: new Date(Date.now() + 60_000).toISOString() },
      ]) {
        await refused("idempotency_key_reused", { ...first, ...other }, service);
      }
    },
  },
});
