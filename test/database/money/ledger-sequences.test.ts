/** Check 4: whatever happens to an account, in whatever order, it is as the written rules say. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import * as fc from "fast-check";
import { type Session, withDatabase } from "../../support/database.ts";
import { LedgerModel } from "../../support/ledger-model.ts";
import {
  assertBooks,
  assertReplay,
  createPlayer,
  type Played,
  playAll,
  reportOf,
} from "../../support/ledger-player.ts";
import { Scene, wish } from "../../support/ledger-scene.ts";

// More, by another seed: DARKROOM_CHECK_RUNS=100000 DARKROOM_CHECK_SEED=7 npm test -- money/ledger --test-timeout=3600000
const asked = process.env["DARKROOM_CHECK_RUNS"];
const seed = Number(process.env["DARKROOM_CHECK_SEED"] ?? 4);
const runs = Number(asked ?? 10_000);

test("check 4: 10,000 sequences of all that happens to an account leave it as the written rules say", (context) =>
  withDatabase(async (database) => {
    await createPlayer(database.sql);
    const counts = new Map<string, number>();
    let played = 0;
    const half = (part: number, on: Session) =>
      fc.assert(
        fc.asyncProperty(fc.array(wish, { minLength: 2, maxLength: 14, size: "max" }), async (wishes) => {
          const model = new LedgerModel();
          const scene = new Scene(model);
          const expected: Played[] = [];
          for (const wished of wishes) {
            const step = scene.add(wished);
            if (!step) continue;
            const answer = model.apply(step);
            expected.push({ answer, balance: model.balance, held: model.held, debt: model.debt });
            const key = typeof answer === "string" && answer !== "done" ? answer : step.op;
            counts.set(key, (counts.get(key) ?? 0) + 1);
          }
          const userId = randomUUID();
          assert.deepEqual(await playAll(on, userId, scene.steps), expected);
          const report = await reportOf(on, userId, scene.holdCount);
          assert.deepEqual(report.state, model.state());
          assertReplay(report);
          played++;
        }),
        {
          seed: seed + part,
          numRuns: Math.ceil(runs / 2),
          // A machine that is busy with other things does fewer, and says so.
          ...(asked === undefined && { interruptAfterTimeLimit: 90_000 }),
        },
      );
    await Promise.all([half(0, await database.session()), half(1, await database.session())]);
    await assertBooks(database.sql);
    context.diagnostic(
      `seed ${seed}, ${played} sequences: ${[...counts].map(([name, count]) => `${count} ${name}`).join(", ")}`,
    );
  }));
