import assert from "node:assert/strict";
import { test } from "node:test";
import { hashToken, isWellFormedToken, newToken } from "./token-format.ts";

test("a new token is well formed; any changed character is noticed without a database", () => {
  for (let round = 0; round < 200; round++) {
    const token = newToken();
    assert.match(token, /^dr_pat_[0-9A-Za-z]{36}$/);
    assert.ok(isWellFormedToken(token));
    const at = 7 + (round % 36);
    const changed = token.slice(0, at) + (token[at] === "x" ? "y" : "x") + token.slice(at + 1);
    assert.equal(isWellFormedToken(changed), false, changed);
  }
});

test("of a million invented tokens, practically none passes the checksum", () => {
  const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  // A fixed generator, so that the figure is the same in every run.
  let state = 42;
  const next = () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
  let passed = 0;
  for (let round = 0; round < 1_000_000; round++) {
    let body = "";
    for (let position = 0; position < 36; position++) body += alphabet[Math.floor(next() * 62)];
    if (isWellFormedToken(`dr_pat_${body}`)) passed++;
  }
  assert.ok(passed <= 1, `${passed} passed`);
});

test("every character of the secret is equally likely", () => {
  const counts = new Map<string, number>();
  const tokens = 4000;
  for (let round = 0; round < tokens; round++) {
    for (const character of newToken().slice(7, 37)) counts.set(character, (counts.get(character) ?? 0) + 1);
  }
  const expected = (tokens * 30) / 62;
  let chiSquare = 0;
  for (const count of counts.values()) chiSquare += (count - expected) ** 2 / expected;
  assert.equal(counts.size, 62);
  // 61 degrees of freedom: beyond 130 with a probability below one in a million.
  assert.ok(chiSquare < 130, `chi-square is ${chiSquare}`);
});

test("the stored hash is SHA-256 of the whole token", async () => {
  const hash = await hashToken("dr_pat_x");
  assert.equal(hash.length, 32);
  assert.notDeepEqual(hash, await hashToken("dr_pat_y"));
});
