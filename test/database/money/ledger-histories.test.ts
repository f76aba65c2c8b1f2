/** Check 4: what several clients do to one account at once is what they could have done one after the other. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import * as fc from "fast-check";
import { withDatabase } from "../../support/database.ts";
import { type AccountState, type Answer, LedgerModel, type Step } from "../../support/ledger-model.ts";
import { assertBooks, assertReplay, createPlayer, playAll, reportOf } from "../../support/ledger-player.ts";
import { Scene, wish } from "../../support/ledger-scene.ts";
import { json } from "../../../supabase/functions/_shared/database/sql.ts";

// More, by another seed: DARKROOM_CHECK_RUNS=100000 DARKROOM_CHECK_SEED=7 npm test -- money/ledger --test-timeout=3600000
const asked = process.env["DARKROOM_CHECK_RUNS"];
const seed = Number(process.env["DARKROOM_CHECK_SEED"] ?? 4);
const histories = Number(asked ?? 10_000) / 10;

/** A call of a concurrent history, with the moments of its begin and its answer. */
interface Call {
  step: Step;
  begun: number;
  ended: number;
  answer: Answer;
}

/** Whether some order of the calls, in which none comes before one that had ended when it began, has these answers and this end. */
function fits(model: LedgerModel, calls: readonly Call[], end: AccountState): boolean {
  if (calls.length === 0) return isSame(model.state(), end);
  const firstEnd = Math.min(...calls.map(({ ended }) => ended));
  return calls.some((call, at) => {
    if (call.begun > firstEnd) return false;
    const next = model.clone();
    return next.apply(call.step) === call.answer && fits(next, calls.toSpliced(at, 1), end);
  });
}

function isSame(one: AccountState, other: AccountState): boolean {
  try {
    assert.deepEqual(one, other);
    return true;
  } catch {
    return false;
  }
}

test("check 4: 1,000 histories of three clients at once are what one after the other could have made", (context) =>
  withDatabase(async (database) => {
    await createPlayer(database.sql);
    const [gate, ...clients] = await Promise.all(Array.from({ length: 4 }, () => database.session()));
    assert.ok(gate);
    let calls = 0;
    let meetings = 0;
    let played = 0;
    const history = fc.record({
      before: fc.array(wish, { minLength: 2, maxLength: 8, size: "max" }),
      // The first of each client meet; the others come when they come.
      atOnce: fc.array(wish, { minLength: 6, maxLength: 6, size: "max" }),
    });
    await fc.assert(
      fc.asyncProperty(history, async ({ before, atOnce }) => {
        const model = new LedgerModel();
        const scene = new Scene(model);
        for (const wished of [{ does: "buy", amount: 40 } as const, ...before]) {
          const step = scene.add(wished);
          if (step) model.apply(step);
        }
        const userId = randomUUID();
        await playAll(gate, userId, scene.steps);
        const steps = atOnce.flatMap((wished) => scene.add(wished) ?? []);
        let moment = 0;
        const made: Call[] = [];
        await gate.query("begin");
        await gate.query("select from credit_accounts where user_id = $1 for update", [userId]);
        const playing = clients.map(async (client, number) => {
          for (const step of steps.filter((_, at) => at % clients.length === number)) {
            const begun = ++moment;
            const { rows } = await client.query<{ answer: Answer }>("select play($1, $2::jsonb) as answer", [
              userId,
              json(step),
            ]);
            made.push({ step, begun, ended: ++moment, answer: rows[0]?.answer ?? "" });
          }
        });
        await gate.query("commit");
        await Promise.all(playing);
        const report = await reportOf(gate, userId, scene.holdCount);
        assertReplay(report);
        assert.ok(
          fits(model, made, report.state),
          `no order of ${JSON.stringify(made)} makes ${JSON.stringify(report.state)} of ${JSON.stringify(model.state())}`,
        );
        calls += made.length;
        if (made.some(({ ended }, at) => made.slice(at + 1).some((later) => later.begun < ended))) meetings++;
        played++;
      }),
      // What met by chance may not meet again: the first failure is the one to read.
      {
        seed,
        numRuns: histories,
        endOnFailure: true,
        ...(asked === undefined && { interruptAfterTimeLimit: 90_000 }),
      },
    );
    await assertBooks(database.sql);
    context.diagnostic(
      `seed ${seed}, ${played} histories, ${calls} calls, ${meetings} with calls at the same time`,
    );
  }));
