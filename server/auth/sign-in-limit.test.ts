import assert from "node:assert/strict";
import { test } from "node:test";
import { createSignInLimit } from "./sign-in-limit.ts";

test("the sign-in limit counts an address for a window, then begins anew", () => {
  let time = 0;
  const limit = createSignInLimit({ attempts: 2, windowSeconds: 60, now: () => time });
  assert.deepEqual([limit.take("a"), limit.take("a"), limit.take("a"), limit.take("b")], [0, 0, 60, 0]);
  time = 60_000;
  assert.equal(limit.take("a"), 0);
});

test("the sign-in limit takes a /64 of IPv6 for one address", () => {
  const limit = createSignInLimit({ attempts: 1, windowSeconds: 60 });
  assert.equal(limit.take("2001:db8:0:1::1"), 0);
  assert.ok(limit.take("2001:db8:0:1:ffff::2") > 0);
  assert.equal(limit.take("2001:db8:0:2::1"), 0);
  assert.equal(limit.take("::ffff:10.0.0.1"), 0);
  assert.equal(limit.take("::ffff:10.0.0.2"), 0);
});

test("the sign-in limit remembers so many addresses and no more", () => {
  let time = 0;
  const limit = createSignInLimit({ attempts: 1, windowSeconds: 60, now: () => time });
  for (let address = 0; address < 20_000; address++) {
    time++;
    limit.take(`10.0.${address >> 8}.${address & 255}`);
  }
  assert.ok(limit.take("10.0.78.31") > 0, "the latest is known");
  assert.equal(limit.take("10.0.0.0"), 0, "the oldest is forgotten");
});
