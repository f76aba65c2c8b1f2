import assert from "node:assert/strict";
import { test } from "node:test";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { type DatabaseUnderTest, type Session, withDatabase } from "../support/database.ts";
import {
  accountOf,
  claim,
  complete,
  createUser,
  queueTask,
  setStatus,
  type TestUser,
  wrongAccounts,
} from "../support/factories.ts";

const secondsOfWork = 10;
const pricePerSecond = 278;

interface Orchestration {
  user: TestUser;
  orchestrator: string;
}

/** An orchestrator that runs. */
async function orchestrate(
  sql: Sql,
  taskType: string,
  details: Record<string, unknown>,
  user?: TestUser,
): Promise<Orchestration> {
  const owner = user ?? (await createUser(sql));
  const orchestrator = await queueTask(sql, owner, {
    taskType,
    params: {
      orchestrator_details: { run_id: "run", orchestrator_task_id: "readable_12345678_abcdef", ...details },
    },
  });
  assert.equal((await claim(sql, "conductor"))?.task_id, orchestrator);
  return { user: owner, orchestrator };
}

async function child(
  sql: Sql,
  { user, orchestrator }: Orchestration,
  taskType: string,
  params: Record<string, unknown>,
  dependantOn?: string[],
): Promise<string> {
  return await queueTask(sql, user, {
    taskType,
    params: { orchestrator_task_id_ref: orchestrator, orchestrator_run_id: "run", ...params },
    ...(dependantOn && { dependantOn }),
  });
}

/** Claims whatever is ready; each has run ten seconds, so prices are known. */
async function startAll(sql: Sql): Promise<void> {
  while (await claim(sql, "worker"));
  await sql`
    update tasks set generation_started_at = now() - interval '9.5 seconds'
     where status = 'In Progress' and not is_orchestrator`;
}

async function finish(connection: Sql | Session, taskId: string): Promise<string> {
  return (await complete(connection, taskId))["public_url"] as string;
}

interface TaskRow extends Record<string, unknown> {
  generation_started_at: Date;
  generation_processed_at: Date;
}

interface GenerationRow extends Record<string, unknown> {
  id: string;
  primary_variant_id: string | null;
}

async function taskRow(sql: Sql, id: string) {
  const [row] = await sql<TaskRow[]>`select * from tasks where id = ${id}`;
  assert.ok(row);
  return row;
}

async function generations(sql: Sql) {
  return await sql<GenerationRow[]>`
    select id, source_task_id, parent_generation_id, is_child, child_order, location, primary_variant_id, name
      from generations order by is_child, child_order, created_at`;
}

async function assertClosed(
  sql: Sql,
  { user, orchestrator }: Orchestration,
  finishedChildren: number,
): Promise<void> {
  const closed = await taskRow(sql, orchestrator);
  assert.equal(closed["status"], "Complete");
  // By the times in the rows: a busy machine takes a second more.
  const [parts] = await sql<{ count: number; seconds: number }[]>`
    select count(*)::int, sum(ceil(extract(epoch from generation_processed_at - generation_started_at)))::int as seconds
      from tasks where orchestrator_task_id = ${orchestrator} and status = 'Complete'`;
  assert.equal(parts?.count, finishedChildren);
  assert.ok(parts.seconds >= finishedChildren * secondsOfWork);
  const cost = parts.seconds * pricePerSecond;
  assert.equal(Number(closed["cost_microusd"]), cost);
  const spends = await sql`select task_id, amount_microusd from credits_ledger where type = 'spend'`;
  assert.deepEqual(
    spends.map((row) => [row["task_id"], Number(row["amount_microusd"])]),
    [[orchestrator, -cost]],
  );
  assert.equal((await accountOf(sql, user.userId)).held, 0);
  assert.deepEqual(await wrongAccounts(sql), []);
  assert.equal((await sql`select from tasks where status in ('Queued', 'In Progress')`).length, 0);
  assert.equal((await sql`select from task_slots where task_id is not null`).length, 0);
}

test("a travel of independent segments: children under one parent in order, closed and charged with the last", () =>
  withDatabase(async ({ sql }) => {
    const travel = await orchestrate(sql, "travel_orchestrator", {
      num_new_segments_to_generate: 3,
      independent_segments: true,
      generation_name: "Journey",
      base_prompts_expanded: ["a", "b", "c"],
      segment_frames_expanded: [61, 62, 63],
    });
    const segments = [];
    for (let index = 0; index < 3; index++) {
      segments.push(
        await child(sql, travel, "travel_segment", {
          segment_index: index,
          orchestrator_details: {
            orchestrator_task_id: "readable",
            num_new_segments_to_generate: 3,
            base_prompts_expanded: ["a", "b", "c"],
            segment_frames_expanded: [61, 62, 63],
          },
        }),
      );
    }
    await startAll(sql);
    const urls: string[] = [];
    for (const segment of segments.toReversed()) urls.unshift(await finish(sql, segment));

    await assertClosed(sql, travel, 3);
    const closed = await taskRow(sql, travel.orchestrator);
    assert.equal(closed["output_location"], null);
    assert.ok(closed.generation_started_at < closed.generation_processed_at);
    const [parent, ...children] = await generations(sql);
    assert.equal(parent?.["source_task_id"], travel.orchestrator);
    assert.equal(parent?.["name"], "Journey");
    assert.equal(parent?.["location"], null);
    assert.deepEqual(
      children.map((row) => [
        row["source_task_id"],
        row["parent_generation_id"],
        row["child_order"],
        row["location"],
      ]),
      segments.map((segment, index) => [segment, parent?.["id"], index, urls[index]]),
    );
    const [second] = await sql<
      { params: Record<string, unknown> }[]
    >`select params from generations where source_task_id = ${segments[1] ?? ""}`;
    assert.equal(second?.params["prompt"], "b");
    assert.equal(second?.params["num_frames"], 62);
    assert.equal(second?.params["tool_type"], "travel-between-images");
  }));

test("a travel with a stitch is closed by the stitch, whose file the parent shows", () =>
  withDatabase(async ({ sql }) => {
    const travel = await orchestrate(sql, "travel_orchestrator", {
      num_new_segments_to_generate: 2,
      independent_segments: false,
      model_type: "vace",
    });
    const first = await child(sql, travel, "travel_segment", { segment_index: 0 });
    const second = await child(sql, travel, "travel_segment", { segment_index: 1 }, [first]);
    await startAll(sql);
    await finish(sql, first);
    await startAll(sql);
    await finish(sql, second);
    assert.equal(
      (await taskRow(sql, travel.orchestrator))["status"],
      "In Progress",
      "the stitch is still to come",
    );
    const stitch = await child(sql, travel, "travel_stitch", { num_total_segments_generated: 2 }, [second]);
    await startAll(sql);
    const url = await finish(sql, stitch);

    await assertClosed(sql, travel, 3);
    assert.equal((await taskRow(sql, travel.orchestrator))["output_location"], url);
    const [parent, ...children] = await generations(sql);
    assert.equal(parent?.["location"], url);
    assert.equal(children.length, 2);
    const [shown] =
      await sql`select variant_type, source_task_id from generation_variants where id = ${parent?.primary_variant_id ?? null}`;
    assert.deepEqual({ ...shown }, { variant_type: "travel_stitch", source_task_id: stitch });
  }));

test("a parallel join waits for its final stitch; the parent that params name shows it", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const [named] = await sql<{ id: string }[]>`
      insert into generations (project_id, type) values (${user.projectId}, 'video') returning id`;
    const join = await orchestrate(
      sql,
      "join_clips_orchestrator",
      { clip_list: [{ url: "a" }, { url: "b" }, { url: "c" }], parent_generation_id: named?.id },
      user,
    );
    const transitions = [];
    for (let index = 0; index < 2; index++) {
      transitions.push(
        await child(sql, join, "join_clips_segment", {
          join_index: index,
          is_first_join: false,
          is_last_join: false,
        }),
      );
    }
    await startAll(sql);
    for (const transition of transitions) {
      const url = await finish(sql, transition);
      await setStatus(sql, transition, "Complete", {
        changes: { output_location: JSON.stringify({ transition_url: url }) },
      });
    }
    assert.equal((await taskRow(sql, join.orchestrator))["status"], "In Progress");
    const stitch = await child(
      sql,
      join,
      "join_final_stitch",
      { transition_task_ids: transitions },
      transitions,
    );
    await startAll(sql);
    await sql`update tasks set generation_started_at = now() - interval '55.5 seconds' where id = ${stitch}`;
    const url = await finish(sql, stitch);

    // 56 s of a stitch cost what ten of a segment do, and 20 micro-dollars more.
    const closed = await taskRow(sql, join.orchestrator);
    assert.equal(closed["status"], "Complete");
    assert.equal(Number(closed["cost_microusd"]), 2 * secondsOfWork * pricePerSecond + 56 * 50);
    assert.equal(closed["output_location"], url);
    const rows = await generations(sql);
    assert.equal(rows.filter((row) => !row["is_child"]).length, 1);
    assert.equal(rows[0]?.["id"], named?.id);
    assert.equal(rows[0]?.["location"], url);
    assert.equal((await sql`select from generation_variants where variant_type = 'clip_join'`).length, 0);
    assert.deepEqual(await wrongAccounts(sql), []);
  }));

test("a chained join without a final stitch makes the joined clip from its last part", () =>
  withDatabase(async ({ sql }) => {
    const join = await orchestrate(sql, "join_clips_orchestrator", {
      clip_list: [{ url: "a" }, { url: "b" }, { url: "c" }],
      use_parallel_joins: false,
    });
    const first = await child(sql, join, "join_clips_segment", {
      join_index: 0,
      is_first_join: true,
      is_last_join: false,
    });
    const last = await child(
      sql,
      join,
      "join_clips_segment",
      { join_index: 1, is_first_join: false, is_last_join: true },
      [first],
    );
    await startAll(sql);
    await finish(sql, first);
    await startAll(sql);
    const url = await finish(sql, last);

    await assertClosed(sql, join, 2);
    const [parent] = await generations(sql);
    assert.equal(parent?.["location"], url);
    const [shown] = await sql<{ variant_type: string; params: Record<string, unknown> }[]>`
      select variant_type, params from generation_variants where id = ${parent?.primary_variant_id ?? null}`;
    assert.equal(shown?.variant_type, "clip_join");
    assert.equal(shown?.params["created_from"], "join_clips_complete");
  }));

test("an edit, which does not say how many parts it has, closes when its worker has said that it created them", () =>
  withDatabase(async ({ sql }) => {
    const edit = await orchestrate(sql, "edit_video_orchestrator", {
      source_video_url: "https://media.example/v.mp4",
      portions_to_regenerate: [{}],
    });
    const part = await child(sql, edit, "join_clips_segment", { join_index: 0 });
    await startAll(sql);
    const url = await finish(sql, part);
    assert.equal((await taskRow(sql, edit.orchestrator))["status"], "In Progress");
    await setStatus(sql, edit.orchestrator, "In Progress", {
      changes: { output_location: "1/1 parts complete" },
    });

    await assertClosed(sql, edit, 1);
    assert.equal((await taskRow(sql, edit.orchestrator))["output_location"], url);
  }));

test("a count that never comes does not keep an orchestration open once its worker has created what it does", () =>
  withDatabase(async ({ sql }) => {
    const travel = await orchestrate(sql, "travel_orchestrator", { num_new_segments_to_generate: 4 });
    const segments = [
      await child(sql, travel, "travel_segment", { segment_index: 0 }),
      await child(sql, travel, "travel_segment", { segment_index: 1 }),
    ];
    await startAll(sql);
    await setStatus(sql, travel.orchestrator, "In Progress", {
      changes: { output_location: "0/4 segments complete" },
    });
    for (const segment of segments) {
      assert.equal((await taskRow(sql, travel.orchestrator))["status"], "In Progress");
      await finish(sql, segment);
    }
    await assertClosed(sql, travel, 2);
  }));

test("a part that fails ends the orchestration, which names the part and its error and costs what was finished", () =>
  withDatabase(async ({ sql }) => {
    const travel = await orchestrate(sql, "travel_orchestrator", { num_new_segments_to_generate: 3 });
    const segments = [];
    for (let index = 0; index < 3; index++)
      segments.push(await child(sql, travel, "travel_segment", { segment_index: index }));
    await startAll(sql);
    await finish(sql, segments[0] ?? "");
    await setStatus(sql, segments[1] ?? "", "Failed", { changes: { error_details: "out of memory" } });

    const statuses = await sql`select status, count(*)::int from tasks group by status order by status`;
    assert.deepEqual(
      statuses.map((row) => [row["status"], row["count"]]),
      [
        ["Complete", 1],
        ["Failed", 3],
      ],
    );
    const ended = await taskRow(sql, travel.orchestrator);
    // Clients read the id out of exactly this text.
    assert.equal(ended["error_message"], `Cascaded failed from related task ${segments[1]}`);
    const [status] = await sql<{ of: Record<string, unknown> }[]>`
      select get_task_status(null, ${travel.orchestrator}) as of`;
    assert.deepEqual(status?.of["failed_part"], {
      task_id: segments[1],
      task_type: "travel_segment",
      index: 1,
      error_message: "out of memory",
    });
    const spends = await sql`select task_id, amount_microusd from credits_ledger where type = 'spend'`;
    assert.deepEqual(
      spends.map((row) => [row["task_id"], Number(row["amount_microusd"])]),
      [[travel.orchestrator, -secondsOfWork * pricePerSecond]],
    );
    assert.equal((await accountOf(sql, travel.user.userId)).held, 0);
  }));

test("an orchestration that runs again beside parts which failed before fails, and says how many failed and why", () =>
  withDatabase(async ({ sql }) => {
    const travel = await orchestrate(sql, "travel_orchestrator", { num_new_segments_to_generate: 2 });
    const failing = await child(sql, travel, "travel_segment", { segment_index: 0 });
    await startAll(sql);
    await setStatus(sql, failing, "Failed", { changes: { error_details: "out of memory" } });
    await setStatus(sql, travel.orchestrator, "Queued");
    assert.equal((await claim(sql, "conductor"))?.task_id, travel.orchestrator);
    const again = await child(sql, travel, "travel_segment", { segment_index: 1 });
    await startAll(sql);
    await finish(sql, again);
    const ended = await taskRow(sql, travel.orchestrator);
    assert.equal(ended["status"], "Failed");
    assert.equal(ended["error_message"], "1 of 2 segments failed: out of memory");
    assert.deepEqual((ended["result_data"] as Record<string, unknown>)["failed_part"], {
      task_id: failing,
      task_type: "travel_segment",
      index: 0,
      error_message: "out of memory",
    });
    assert.equal((await accountOf(sql, travel.user.userId)).held, 0);
    assert.equal((await sql`select from credits_ledger where type = 'spend'`).length, 1);
  }));

test("an orchestrator that has created parts outlives any number of workers; before, each that is lost is a failed run", () =>
  withDatabase(async ({ sql }) => {
    const lose = async (orchestrator: string) => {
      await sql`update tasks set lease_expires_at = now() - interval '1 second' where id = ${orchestrator}`;
      await sql`select sweep_expired_leases()`;
      const { status, attempts } = await taskRow(sql, orchestrator);
      return [status, attempts];
    };
    const idle = await orchestrate(sql, "travel_orchestrator", { num_new_segments_to_generate: 2 });
    assert.deepEqual(await lose(idle.orchestrator), ["Queued", 1]);
    await sql`select end_task(${idle.orchestrator}, 'Cancelled', null)`;

    const travel = await orchestrate(sql, "travel_orchestrator", { num_new_segments_to_generate: 2 });
    const parts = [
      await child(sql, travel, "travel_segment", { segment_index: 0 }),
      await child(sql, travel, "travel_segment", { segment_index: 1 }),
    ];
    for (let worker = 0; worker < 5; worker++) {
      assert.deepEqual(await lose(travel.orchestrator), ["Queued", 0]);
      assert.equal((await claim(sql, "conductor"))?.task_id, travel.orchestrator);
    }
    await startAll(sql);
    for (const part of parts) await finish(sql, part);
    assert.equal((await taskRow(sql, travel.orchestrator))["status"], "Complete");

    // But not for ever.
    const endless = await orchestrate(sql, "travel_orchestrator", { num_new_segments_to_generate: 2 });
    await child(sql, endless, "travel_segment", { segment_index: 0 }, [
      await queueTask(sql, endless.user, { taskType: "lora_training" }),
    ]);
    let lost = 0;
    for (; lost < 50; lost++) {
      const [status] = await lose(endless.orchestrator);
      if (status === "Failed") break;
      await sql`select claim_next_task(for_worker => 'conductor', only_task_types => array['travel_orchestrator'])`;
    }
    assert.equal(lost, 22);
  }));

test("a worker that completes its orchestrator itself is welcome before the last part, and after it", () =>
  withDatabase(async ({ sql }) => {
    const travel = await orchestrate(sql, "travel_orchestrator", { num_new_segments_to_generate: 1 });
    const segment = await child(sql, travel, "travel_segment", { segment_index: 0 });
    await startAll(sql);
    await finish(sql, segment);
    await assertClosed(sql, travel, 1);
    const answer = await complete(sql, travel.orchestrator, { worker: "conductor", attempt: 1 });
    assert.equal(answer["success"], true);
    await assertClosed(sql, travel, 1);
  }));

test("a travel of one segment: the segment is the whole too, and a new version of it as well", () =>
  withDatabase(async ({ sql }) => {
    const travel = await orchestrate(sql, "travel_orchestrator", { num_new_segments_to_generate: 1 });
    const segment = await child(sql, travel, "travel_segment", {
      segment_index: 0,
      orchestrator_details: { num_new_segments_to_generate: 1 },
    });
    await startAll(sql);
    const url = await finish(sql, segment);
    const [parent, only] = await generations(sql);
    assert.equal(parent?.["location"], url);
    assert.equal(only?.["location"], url);
    assert.equal((await taskRow(sql, travel.orchestrator))["generation_created"], true);

    const again = await queueTask(sql, travel.user, {
      taskType: "individual_travel_segment",
      params: {
        segment_index: 0,
        parent_generation_id: parent?.["id"],
        child_generation_id: only?.["id"],
        orchestrator_details: { generation_source: "individual_segment" },
      },
    });
    await startAll(sql);
    const newUrl = await finish(sql, again);
    const [parentAfter, onlyAfter] = await generations(sql);
    assert.equal(onlyAfter?.["location"], newUrl);
    assert.equal(parentAfter?.["location"], newUrl);
    const propagated = await sql`
      select variant_type, params ->> 'created_from' as created_from from generation_variants where id = ${parentAfter?.primary_variant_id ?? null}`;
    assert.deepEqual(
      { ...propagated[0] },
      { variant_type: "travel_segment", created_from: "single_segment_propagation" },
    );
  }));

test("a join of two clips: the one join is the whole, shown unless the parent shows something already", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    for (const location of [null, "https://media.example/before.mp4"]) {
      const [named] = await sql<{ id: string }[]>`
        insert into generations (project_id, type) values (${user.projectId}, 'video') returning id`;
      if (location) {
        await sql`
          insert into generation_variants (generation_id, location, variant_type, is_primary)
          values (${named?.id ?? ""}, ${location}, 'original', true)`;
      }
      const details = { clip_list: [{ url: "a" }, { url: "b" }], use_parallel_joins: false };
      const join = await orchestrate(
        sql,
        "join_clips_orchestrator",
        { ...details, parent_generation_id: named?.id },
        user,
      );
      const only = await child(sql, join, "join_clips_segment", {
        join_index: 0,
        is_first_join: true,
        is_last_join: true,
      });
      await startAll(sql);
      const url = await finish(sql, only);
      const [variant] = await sql`
        select is_primary, params ->> 'created_from' as created_from, params -> 'is_single_join' as is_single_join
          from generation_variants where generation_id = ${named?.id ?? ""} and source_task_id = ${only}`;
      assert.deepEqual(
        { created_from: variant?.["created_from"], is_single_join: variant?.["is_single_join"] },
        { created_from: "single_item_completion", is_single_join: true },
      );
      assert.equal(
        (await sql`select from generations where parent_generation_id = ${named?.id ?? ""}`).length,
        0,
      );
      // Then the whole is done, and the parent shows it: the join was for that.
      const [shown] = await sql`
        select generation.location, variant_type from generations as generation
          join generation_variants as variant on variant.id = primary_variant_id where generation.id = ${named?.id ?? ""}`;
      assert.deepEqual({ ...shown }, { location: url, variant_type: "clip_join" });
    }
  }));

test("a segment made anew by its id is shown unless it says otherwise; one at the same place only if it says so", () =>
  withDatabase(async ({ sql }) => {
    const travel = await orchestrate(sql, "travel_orchestrator", { num_new_segments_to_generate: 2 });
    const segments = [];
    for (let index = 0; index < 2; index++)
      segments.push(await child(sql, travel, "travel_segment", { segment_index: index }));
    await startAll(sql);
    for (const segment of segments) await finish(sql, segment);
    const [parent, first] = await generations(sql);
    const remake = async (params: Record<string, unknown>) => {
      const taskId = await queueTask(sql, travel.user, {
        taskType: "individual_travel_segment",
        params: { segment_index: 0, parent_generation_id: parent?.["id"], ...params },
      });
      await startAll(sql);
      const url = await finish(sql, taskId);
      const [row] = await sql`select location from generations where id = ${first?.id ?? null}`;
      return row?.["location"] === url;
    };
    assert.equal(await remake({ child_generation_id: first?.["id"] }), true);
    assert.equal(await remake({ child_generation_id: first?.["id"], make_primary_variant: false }), false);
    assert.equal(await remake({}), false);
    assert.equal(await remake({ make_primary_variant: true }), true);
    assert.equal((await generations(sql)).length, 3, "no child was added");
    const versions =
      await sql`select variant_type from generation_variants where generation_id = ${first?.id ?? null} and variant_type <> 'original'`;
    assert.deepEqual(
      versions.map((row) => row["variant_type"]),
      Array.from({ length: 4 }, () => "individual_segment"),
    );
  }));

test("a travel of one segment again, under the same parent: the parent goes on showing something, the new film if asked", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const details = { num_new_segments_to_generate: 1, independent_segments: true };
    const travelOnce = async (more: Record<string, unknown>) => {
      const travel = await orchestrate(sql, "travel_orchestrator", { ...details, ...more }, user);
      const segment = await child(sql, travel, "travel_segment", {
        segment_index: 0,
        orchestrator_details: details,
        make_primary_variant: true,
      });
      await startAll(sql);
      return await finish(sql, segment);
    };
    await travelOnce({});
    const [parent] = await generations(sql);
    const url = await travelOnce({ parent_generation_id: parent?.["id"] });

    const shown = await sql`
      select location, is_primary from generation_variants where generation_id = ${parent?.id ?? null} and is_primary`;
    assert.deepEqual(
      shown.map((row) => row["location"]),
      [url],
    );
    const [after, only, ...others] = await generations(sql);
    assert.deepEqual([after?.["location"], only?.["location"], others.length], [url, url, 0]);
  }));

test("a join within a travel stands under the travel's parent, and both close with its stitch", () =>
  withDatabase(async ({ sql }) => {
    const travel = await orchestrate(sql, "travel_orchestrator", {
      num_new_segments_to_generate: 2,
      stitch_config: { prompt: "x" },
    });
    const segments = [];
    for (let index = 0; index < 2; index++)
      segments.push(await child(sql, travel, "travel_segment", { segment_index: index }));
    const join = await queueTask(sql, travel.user, {
      taskType: "join_clips_orchestrator",
      params: {
        orchestrator_details: {
          orchestrator_task_id_ref: travel.orchestrator,
          segment_task_ids: segments,
          use_parallel_joins: true,
        },
      },
      dependantOn: segments,
    });
    await startAll(sql);
    for (const segment of segments) await finish(sql, segment);
    assert.equal((await taskRow(sql, travel.orchestrator))["status"], "In Progress");
    assert.equal((await claim(sql, "conductor"))?.task_id, join);
    const inner = { user: travel.user, orchestrator: join };
    const transition = await child(sql, inner, "join_clips_segment", { join_index: 0 });
    const stitch = await child(sql, inner, "join_final_stitch", { transition_task_ids: [transition] }, [
      transition,
    ]);
    await startAll(sql);
    await finish(sql, transition);
    await startAll(sql);
    const url = await finish(sql, stitch);

    for (const orchestrator of [join, travel.orchestrator]) {
      const closed = await taskRow(sql, orchestrator);
      assert.equal(closed["status"], "Complete");
      assert.equal(closed["output_location"], url);
    }
    const rows = await generations(sql);
    assert.equal(rows.filter((row) => !row["is_child"]).length, 1);
    assert.equal(rows[0]?.["location"], url);
    assert.equal((await sql`select from credits_ledger where type = 'spend'`).length, 1);
    assert.equal((await accountOf(sql, travel.user.userId)).held, 0);
  }));

/** The last two parts end on two connections, the second while the first has not committed. */
async function endTwoAtOnce(
  database: DatabaseUnderTest,
  [first, second]: [(session: Session) => Promise<unknown>, (session: Session) => Promise<unknown>],
): Promise<void> {
  const [one, two] = [await database.session(), await database.session()];
  await one.query("begin");
  await first(one);
  const waiting = second(two);
  await database.lockIsWaitedFor();
  await one.query("commit");
  await waiting;
}

for (const order of [
  [0, 1],
  [1, 0],
] as const) {
  test(`the last two segments finish at once, ${order.join(" then ")}: one parent, one closing, one charge`, () =>
    withDatabase(async (database) => {
      const { sql } = database;
      const travel = await orchestrate(sql, "travel_orchestrator", { num_new_segments_to_generate: 2 });
      const segments: string[] = [];
      for (let index = 0; index < 2; index++)
        segments.push(await child(sql, travel, "travel_segment", { segment_index: index }));
      await startAll(sql);
      await endTwoAtOnce(database, [
        (session) => complete(session, segments[order[0]] ?? ""),
        (session) => complete(session, segments[order[1]] ?? ""),
      ]);
      await assertClosed(sql, travel, 2);
      const rows = await generations(sql);
      assert.equal(rows.filter((row) => !row["is_child"]).length, 1);
      assert.deepEqual(
        rows.slice(1).map((row) => row["child_order"]),
        [0, 1],
      );
    }));

  test(`one of the last two segments finishes while the other fails, ${order.join(" then ")}: one end, one charge`, () =>
    withDatabase(async (database) => {
      const { sql } = database;
      const travel = await orchestrate(sql, "travel_orchestrator", { num_new_segments_to_generate: 2 });
      const segments: string[] = [];
      for (let index = 0; index < 2; index++)
        segments.push(await child(sql, travel, "travel_segment", { segment_index: index }));
      await startAll(sql);
      const ends: ((session: Session) => Promise<unknown>)[] = [
        (session) =>
          complete(session, segments[0] ?? "").catch((error: unknown) =>
            assert.match(String(error), /task_not_running/),
          ),
        (session) => setStatus(session, segments[1] ?? "", "Failed"),
      ];
      await endTwoAtOnce(database, [ends[order[0]] as never, ends[order[1]] as never]);
      const finished = order[0] === 0 ? 1 : 0;
      assert.equal((await taskRow(sql, travel.orchestrator))["status"], "Failed");
      const charged = await sql`select amount_microusd from credits_ledger where type = 'spend'`;
      assert.deepEqual(
        charged.map((row) => Number(row["amount_microusd"])),
        finished ? [-secondsOfWork * pricePerSecond] : [],
      );
      assert.equal((await accountOf(sql, travel.user.userId)).held, 0);
    }));

  test(`the worker ends its orchestrator while the last segment finishes, ${order.join(" then ")}: one closing, one charge`, () =>
    withDatabase(async (database) => {
      const { sql } = database;
      const travel = await orchestrate(sql, "travel_orchestrator", { num_new_segments_to_generate: 2 });
      const segments: string[] = [];
      for (let index = 0; index < 2; index++)
        segments.push(await child(sql, travel, "travel_segment", { segment_index: index }));
      await startAll(sql);
      await finish(sql, segments[0] ?? "");
      const ends: ((session: Session) => Promise<unknown>)[] = [
        // The last part is lost when the orchestrator was completed without it.
        (session) =>
          complete(session, segments[1] ?? "").catch((error: unknown) =>
            assert.match(String(error), /task_cancelled/),
          ),
        (session) => complete(session, travel.orchestrator, { worker: "conductor", attempt: 1 }),
      ];
      await endTwoAtOnce(database, [ends[order[0]] as never, ends[order[1]] as never]);
      await assertClosed(sql, travel, order[0] === 0 ? 2 : 1);
    }));
}

test("the worker ends its orchestrator while the last segment is being written: neither waits for the other in a circle", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const travel = await orchestrate(sql, "travel_orchestrator", { num_new_segments_to_generate: 1 });
    const segment = await child(sql, travel, "travel_segment", { segment_index: 0 });
    await startAll(sql);
    // Holds the segment's completion where its own row is locked, and nothing of the orchestration has been looked at.
    await sql.query(`
      create function hold_completion() returns trigger language plpgsql as $$
      begin
        if current_setting('application_name') = 'held' then perform pg_advisory_xact_lock(4711); end if;
        return new;
      end $$;
      create trigger hold_completion before update on tasks for each row execute function hold_completion()`);
    const [gate, worker, conductor] = [
      await database.session(),
      await database.session(),
      await database.session(),
    ];
    await gate.query("select pg_advisory_lock(4711)");
    await worker.query("set application_name = 'held'");
    const finishing = complete(worker, segment);
    await database.lockIsWaitedFor();
    const ending = complete(conductor, travel.orchestrator, { worker: "conductor", attempt: 1 });
    await database.lockIsWaitedFor(2);
    await gate.query("select pg_advisory_unlock(4711)");
    await Promise.all([finishing, ending]);
    await assertClosed(sql, travel, 1);
  }));
