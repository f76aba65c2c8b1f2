import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { jsonSchema } from "./openapi.ts";
import { closed, closestName, type ObjectSchema, unknownFields } from "./unknown-fields.ts";

test("closestName() names the field that a misspelt name stands for, and none for a foreign name", () => {
  const known = ["scopes", "expires_in_days", "label", "userId", "user_id"];
  const meant: Record<string, string | undefined> = {
    scope: "scopes",
    expires_days: "expires_in_days",
    expiresInDays: "expires_in_days",
    "expires-in-days": "expires_in_days",
    EXPIRES_IN_DAYS: "expires_in_days",
    expire_in_days: "expires_in_days",
    lable: "label",
    userid: "userId",
    "user-id": "user_id",
    USER_ID: "user_id",
    token: undefined,
    "": undefined,
    __proto__: undefined,
    ["x".repeat(100_000)]: undefined,
  };
  for (const [name, expected] of Object.entries(meant))
    assert.equal(closestName(name, known), expected, name);
  assert.equal(closestName("__proto__", known), undefined);
  assert.equal(closestName("scopes", []), undefined);
});

test("unknownFields() finds fields at every depth, not in records, and by the form that fits best", () => {
  const schema = closed(
    jsonSchema(
      z.object({
        rule: z.object({ limit: z.number() }).nullish(),
        list: z.array(z.union([z.string(), z.object({ path: z.string() })])).nullish(),
        factors: z.record(z.string(), z.record(z.string(), z.number())).nullish(),
      }),
      "input",
    ) as ObjectSchema,
  );
  const found = (value: unknown) => unknownFields(schema, value).map(({ field }) => field);
  assert.deepEqual(found({ rule: { limit: 1 }, list: ["a", { path: "b" }], factors: { a: { b: 1 } } }), []);
  assert.deepEqual(found({ rule: { limits: 1 }, list: ["a", { paht: "b" }], factor: {} }), [
    "rule.limits",
    "list.1.paht",
    "factor",
  ]);
  assert.deepEqual(found(JSON.parse('{"__proto__": {"scopes": []}, "constructor": 1}')), [
    "__proto__",
    "constructor",
  ]);
  assert.deepEqual(found({ rule: null, list: null }), []);
});
