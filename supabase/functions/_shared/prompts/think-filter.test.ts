import assert from "node:assert/strict";
import { test } from "node:test";
import { randomFrom } from "../../../../test/support/orders.ts";
import { ThinkFilter, withoutThinking } from "./think-filter.ts";

const cases: [written: string, answer: string][] = [
  ["a fox", "a fox"],
  ["", ""],
  ["<think>they want a fox</think>a fox", "a fox"],
  ["<think>\nthey want a fox\n</think>\n\na fox", "a fox"],
  ["  <THINK>x</Think> a fox ", "a fox "],
  ["<thinking>x</thinking>a fox", "a fox"],
  ["<think></think>a fox", "a fox"],
  // Not closed: nothing of it is an answer.
  ["<think>they want a fox", ""],
  ["a fox<think>or a hare", "a fox"],
  // Within each other.
  ["<think>a<think>b</think>c</think>a fox", "a fox"],
  ["<think>a<think>b</think>c", ""],
  ["a <think>x</think>red <think>y</think>fox", "a red fox"],
  // Without a beginning.
  ["they want a fox</think>a fox", "a fox"],
  // No tags.
  ["1 < 2 <thin> a<b <thinker> </thin", "1 < 2 <thin> a<b <thinker> </thin"],
  ["<<think>x</think>a", "<a"],
  ["a fox <", "a fox <"],
  ["a fox <thi", "a fox <thi"],
  ["</", "</"],
];

test("thoughts are removed from a whole answer: closed or not, within each other, without a beginning", () => {
  for (const [written, answer] of cases) assert.equal(withoutThinking(written), answer, written);
});

test("an answer in pieces is the same wherever it is split", (context) => {
  const random = randomFrom(13);
  let splits = 0;
  for (const [written, answer] of cases) {
    // What was shown cannot be taken back.
    if (written.startsWith("they")) continue;
    const everyCut = Array.from({ length: written.length + 1 }, (_, at) => [at]);
    const someCuts = Array.from({ length: 200 }, () =>
      Array.from({ length: 5 }, () => Math.floor(random() * (written.length + 1))),
    );
    for (const cuts of [...everyCut, ...someCuts, Array.from({ length: written.length }, (_, at) => at)]) {
      const filter = new ThinkFilter();
      const places = [0, ...cuts, written.length].sort((a, b) => a - b);
      const shown = places.slice(1).map((to, index) => filter.add(written.slice(places[index], to)));
      assert.equal(shown.join("") + filter.end(), answer, JSON.stringify([written, cuts]));
      assert.ok(!filter.hasOrphan);
      splits++;
    }
  }
  context.diagnostic(`${splits} splits of ${cases.length - 1} answers`);
});

test("an answer of nothing but brackets is read in time that grows with its length", () => {
  const begun = performance.now();
  assert.equal(withoutThinking("<".repeat(60_000)).length, 60_000);
  const filter = new ThinkFilter();
  for (let piece = 0; piece < 60_000; piece++) filter.add("<");
  assert.ok(performance.now() - begun < 2_000);
});
