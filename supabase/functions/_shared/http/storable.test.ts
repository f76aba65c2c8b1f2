import assert from "node:assert/strict";
import { test } from "node:test";
import { unstorableValues } from "./storable.ts";

test("unstorableValues() names the place of text and numbers that cannot be stored, and takes all others", () => {
  const places = (json: string) => unstorableValues(JSON.parse(json)).map(({ path }) => path);
  assert.deepEqual(places('{"a": "🦊 \\ud83e\\udd8a \\uffff", "b": [1e308, null, true, ""]}'), []);
  assert.deepEqual(places('{"a": {"b": ["x", "\\ud83e"]}, "c": "\\u0000", "d": -1e999}'), [
    "a.b.1",
    "c",
    "d",
  ]);
  // The name itself is what cannot be shown.
  assert.deepEqual(places('{"a": {"\\udd8a": 1}}'), ["a"]);
  assert.equal(places(JSON.stringify(Array.from({ length: 100 }, () => "\0"))).length, 20);
});

test("unstorableValues() looks at the name of a file", () => {
  const issues = unstorableValues({ audio: new File(["x"], "a\0.mp3"), other: new File(["\0"], "b.mp3") });
  assert.deepEqual(
    issues.map(({ path }) => path),
    ["audio"],
  );
});
