import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { createPromoCodeEndpoint } from "./endpoint.ts";

const newCode = () => `T${randomUUID().replaceAll("-", "").slice(0, 20)}`;
const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString();

const promo = (fields: Record<string, unknown> = {}) => ({
  code: newCode(),
  credits: 250,
  max_uses: 3,
  description: "spring",
  ...fields,
});

describeEndpoint(createPromoCodeEndpoint, {
  accepted: ({ service }) => Promise.resolve({ body: promo(), credentials: service }),
  cases: {
    "200: a code in capitals, with all that was said of it": async ({ call, service }) => {
      const body = promo({ valid_from: inDays(1), valid_until: inDays(2), credit_days: 30 });
      const made = (await call(body, service)).body;
      assert.equal(made["code"], body.code.toUpperCase());
      assert.deepEqual(
        [made["amount"], made["amount_microusd"], made["max_uses"], made["uses"], made["credit_days"]],
        [250, 2_500_000, 3, 0, 30],
      );
    },
    "200: the same again is the same code, also when its time is over": async ({ sql, call, service }) => {
      const body = promo({ valid_until: inDays(1) });
      const first = await call(body, service);
      assert.equal(first.body["deduplicated"], false);
      await sql`update promo_codes set valid_from = now() - interval '3 days' where code = ${body.code.toUpperCase()}`;
      const again = await call({ ...body, code: body.code.toLowerCase() }, service);
      assert.deepEqual([again.body["deduplicated"], again.body["uses"]], [true, 0]);
    },
    "400 invalid_request: codes, amounts, uses and times that are none": async ({ refused, service }) => {
      for (const wrong of [
        { code: "no" },
        { code: "has spaces" },
        { code: "x".repeat(41) },
        { credits: 0 },
        { credits: 0.5 },
        { credits: 100_001 },
        { max_uses: 0 },
        { max_uses: 1_000_001 },
        { credit_days: 0 },
        { valid_until: "2026-01-01T00:00:00Z" },
        { valid_from: inDays(2), valid_until: inDays(1) },
        { description: "" },
      ]) {
        await refused("invalid_request", promo(wrong), service);
      }
    },
    "409 promo_code_taken: by a code with other content": async ({ call, refused, service }) => {
      const body = promo();
      await call(body, service);
      for (const other of [
        { credits: 251 },
        { max_uses: 4 },
        { valid_from: inDays(1) },
        { valid_until: inDays(9) },
        { credit_days: 1 },
        { description: "autumn" },
      ]) {
        await refused("promo_code_taken", { ...body, ...other }, service);
      }
    },
  },
});
