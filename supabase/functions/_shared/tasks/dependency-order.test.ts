import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { type BatchTask, dependencyOrder } from "./dependency-order.ts";

const runs = Number(process.env["DARKROOM_PROPERTY_RUNS"] ?? 300);

/** Tasks of which each may depend on those that stand before it. */
const sortedBatch = fc
  .array(fc.array(fc.nat(), { maxLength: 5 }), { minLength: 1, maxLength: 40 })
  .map((picks) =>
    picks.map((pick, place): BatchTask & { task_id: string } => ({
      task_id: `task-${place}`,
      dependant_on: place === 0 ? [] : pick.map((number) => `task-${number % place}`),
    })),
  );

test("dependencyOrder() keeps a batch that is in order as it is", () =>
  fc.assert(
    fc.property(sortedBatch, (batch) => {
      assert.deepEqual(dependencyOrder(batch), { order: batch.map((_, place) => place) });
    }),
    { numRuns: runs },
  ));

test("dependencyOrder() puts each task of any order without a cycle after those that it depends on", () =>
  fc.assert(
    fc.property(
      sortedBatch.chain((batch) => fc.shuffledSubarray(batch, { minLength: batch.length })),
      (batch) => {
        const found = dependencyOrder(batch);
        assert.ok("order" in found);
        const { order } = found;
        assert.deepEqual(
          [...order].sort((a, b) => a - b),
          [...batch.keys()],
        );
        const seen = new Set<string>();
        for (const place of order) {
          const task = batch[place];
          assert.ok(task);
          for (const id of task.dependant_on ?? []) assert.ok(seen.has(id), `${task.task_id} before ${id}`);
          seen.add(task.task_id);
        }
      },
    ),
    { numRuns: runs },
  ));

test("dependencyOrder() names a cycle, each task depending on the next", () =>
  fc.assert(
    fc.property(sortedBatch, fc.nat(), fc.integer({ min: 1, max: 10 }), (batch, at, length) => {
      // A ring through some of the tasks, wherever else they lead.
      const ring = Array.from(
        { length: Math.min(length, batch.length) },
        (_, step) => (at + step) % batch.length,
      );
      const closed = batch.map((task, place) => {
        const step = ring.indexOf(place);
        if (step === -1) return task;
        const next = `task-${ring[(step + 1) % ring.length]}`;
        return { ...task, dependant_on: [...(task.dependant_on ?? []), next] };
      });
      const found = dependencyOrder(closed);
      assert.ok("cycle" in found);
      const { cycle } = found;
      assert.equal(new Set(cycle).size, cycle.length);
      assert.ok(cycle.length > 0);
      for (const [step, id] of cycle.entries()) {
        const task = closed.find(({ task_id }) => task_id === id);
        assert.ok(task?.dependant_on?.includes(cycle[(step + 1) % cycle.length] ?? ""), cycle.join(" → "));
      }
    }),
    { numRuns: runs },
  ));

test("dependencyOrder() does not look at tasks outside the batch, and reads ids in any case", () => {
  assert.deepEqual(dependencyOrder([{ dependant_on: ["elsewhere"] }, {}]), { order: [0, 1] });
  assert.deepEqual(dependencyOrder([{ dependant_on: ["ABC"] }, { task_id: "abc" }]), { order: [1, 0] });
  // A repeat of a task does not depend on itself.
  assert.deepEqual(dependencyOrder([{ task_id: "a" }, { task_id: "A" }]), { order: [0, 1] });
  assert.deepEqual(dependencyOrder([{ task_id: "a", dependant_on: ["a"] }]), { cycle: ["a"] });
});
