import assert from "node:assert/strict";
import { test } from "node:test";
import { createPreparedShapes } from "./prepared-shapes.ts";

test("createPreparedShapes() prepares the first shapes for good, and no more or longer ones", () => {
  const isPrepared = createPreparedShapes(2, 10);
  assert.deepEqual(["a", "x".repeat(11), "b", "c", "a", "b"].map(isPrepared), [
    true,
    false,
    true,
    false,
    true,
    true,
  ]);
});
