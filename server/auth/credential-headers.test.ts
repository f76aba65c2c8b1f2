import assert from "node:assert/strict";
import { test } from "node:test";
import { credentialHeaders } from "./credential-headers.ts";

test("credentialHeaders() drops an sb_ key sent twice, and nothing else", () => {
  const bearerOf = (apikey: string, bearer: string) =>
    credentialHeaders(new Headers({ apikey, authorization: `Bearer ${bearer}` })).get("authorization");
  assert.equal(bearerOf("sb_secret_a", "sb_secret_a"), null);
  assert.equal(bearerOf("sb_publishable_a", "sb_secret_b"), "Bearer sb_secret_b");
  assert.equal(bearerOf("sb_publishable_a", "token"), "Bearer token");
  assert.equal(bearerOf("key", "key"), "Bearer key");
});
