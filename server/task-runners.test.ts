import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { withDatabase } from "../test/support/database.ts";
import { falTaskTypes } from "../supabase/functions/_shared/worker/fal/recipes.ts";
import { sandboxTaskTypes } from "../worker/sandbox/provider.ts";
import { localWorkPlan } from "./local-worker.ts";
import { configureFal, logTaskRunners, taskRunners } from "./task-runners.ts";

/** Another spelling is no type of its own. */
const stored = sandboxTaskTypes.filter((type) => type !== "image-upscale").toSorted();
const withoutFal = sandboxTaskTypes.filter((type) => !falTaskTypes.includes(type));

test("a host's sandbox asks for no type that FAL can run, by any of FAL's rules, and FAL for nothing by the rule none", () => {
  const fal = { FAL_KEY: "key" };
  assert.deepEqual(localWorkPlan({ fal: undefined, sandbox: true }), {
    fal: undefined,
    sandboxTypes: [...sandboxTaskTypes],
    notServed: [],
  });
  for (const rule of ["missing", "all"]) {
    const variables = { ...fal, DARKROOM_FAL_RUNS: rule };
    assert.deepEqual(localWorkPlan({ fal: variables, sandbox: true }), {
      fal: variables,
      sandboxTypes: withoutFal,
      notServed: [],
    });
  }
  const none = { ...fal, DARKROOM_FAL_RUNS: "none" };
  const plan = localWorkPlan({ fal: none, sandbox: true });
  assert.deepEqual([plan.fal, plan.sandboxTypes], [undefined, withoutFal]);
  assert.deepEqual([...plan.notServed].sort(), [...falTaskTypes].sort());
});

test("a start writes FAL's rule with a key, and without one resets it only where the host is alone", () =>
  withDatabase(async ({ sql }) => {
    const read = async () => {
      const [row] = await sql`
        select fal_is_configured, fal_runs, extract(epoch from fal_after)::int as after from queue_settings`;
      return [row?.["fal_is_configured"], row?.["fal_runs"], row?.["after"]];
    };
    await configureFal(sql, { DARKROOM_FAL_RUNS: "all" }, { isAlone: true });
    assert.deepEqual(await read(), [false, "missing", 300]);
    const fal = { FAL_KEY: "key", DARKROOM_FAL_RUNS: "none", DARKROOM_FAL_AFTER_SECONDS: "20" };
    await configureFal(sql, fal, { isAlone: true });
    assert.deepEqual(await read(), [true, "none", 20]);
    await configureFal(sql, { FAL_KEY: "key" }, { isAlone: false });
    assert.deepEqual(await read(), [true, "missing", 20]);
    await configureFal(sql, undefined, { isAlone: false });
    assert.equal((await read())[0], true);
    await configureFal(sql, undefined, { isAlone: true });
    assert.equal((await read())[0], false);
  }));

test("a start says what runs which task types, and names visible types that nothing runs", () =>
  withDatabase(async ({ sql }) => {
    const lines: Record<string, unknown>[] = [];
    const log = pino(
      {},
      { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
    );
    logTaskRunners(await taskRunners(sql, sandboxTaskTypes), undefined, log);
    assert.equal(lines.length, 1);
    assert.deepEqual(lines[0]?.["sandbox"], stored);

    await configureFal(sql, { FAL_KEY: "key" }, { isAlone: true });
    await sql`select claim_next_task(for_worker => 'gpu-1', only_task_types => array['travel_segment', 'travel_orchestrator'])`;
    await sql`update task_types set runners = '{gpu_worker}' where name in ('wan_2_2_i2v', 'extract_frame')`;
    const runners = await taskRunners(sql, []);
    logTaskRunners(runners, "missing", log);
    const [, said, warned] = lines;
    assert.deepEqual(said?.["own_workers"], ["travel_orchestrator", "travel_segment"]);
    assert.deepEqual(
      said["fal"],
      falTaskTypes.filter((type) => type !== "wan_2_2_i2v" && type !== "extract_frame").sort(),
    );
    assert.equal(said["fal_runs"], "missing");
    // extract_frame is not visible to clients, so nothing is missed.
    assert.deepEqual(runners.nothing, ["wan_2_2_i2v"]);
    assert.deepEqual(warned?.["task_types"], ["wan_2_2_i2v"]);
  }));
