import assert from "node:assert/strict";

/** Fails with every fault on a line of its own, after what there is to do about them. */
export function assertNone(faults: readonly string[], remedy: string): void {
  if (faults.length > 0) assert.fail(`${remedy}\n  ${faults.join("\n  ")}`);
}
