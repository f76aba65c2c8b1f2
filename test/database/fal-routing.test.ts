import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { json, type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { falTaskTypes } from "../../supabase/functions/_shared/worker/fal/recipes.ts";
import { sandboxTaskTypes } from "../../worker/sandbox/provider.ts";
import { type Session, withDatabase } from "../support/database.ts";
import {
  claim,
  type Claimed,
  complete,
  createUser,
  queueTask,
  setStatus,
  type TestUser,
} from "../support/factories.ts";

// A type that GPU workers and FAL can both run.
const sharedType = "qwen_image";

interface FalClaim {
  rule?: "missing" | "all" | "none";
  afterSeconds?: number;
  types?: readonly string[];
  models?: readonly string[];
  forUser?: string;
  provider?: "fal" | "sandbox";
  worker?: string;
}

const falClaimText = `select claim_next_task(for_user => $1::uuid, for_worker => $2::text, only_task_types => $3::text[],
  only_models => $4::text[], for_provider => $5::text, fal_runs => $6::text, fal_after_seconds => $7::integer,
  debug => $8::boolean) as claimed`;

function falClaimParams(
  { rule, afterSeconds, types, models, forUser, provider, worker }: FalClaim,
  debug = false,
) {
  return [
    forUser ?? null,
    worker ?? "fal-1",
    [...(types ?? falTaskTypes)],
    models ? [...models] : null,
    provider ?? "fal",
    rule ?? null,
    afterSeconds ?? null,
    debug,
  ];
}

/** What a FAL worker's claim gets. */
async function falClaim(sql: Sql, options: FalClaim = {}): Promise<Claimed | null> {
  const rows = await sql.query<{ claimed: Claimed | null }[]>(falClaimText, falClaimParams(options));
  return rows[0]?.claimed ?? null;
}

async function sessionFalClaim(session: Session, options: FalClaim = {}): Promise<Claimed | null> {
  const { rows } = await session.query<{ claimed: Claimed | null }>(falClaimText, falClaimParams(options));
  return rows[0]?.claimed ?? null;
}

async function explained(sql: Sql, options: FalClaim = {}): Promise<Record<string, number>> {
  const rows = await sql.query<{ claimed: { debug: Record<string, number> } }[]>(
    falClaimText,
    falClaimParams(options, true),
  );
  const { debug } = rows[0]?.claimed ?? {};
  return Object.fromEntries(Object.entries(debug ?? {}).filter(([, count]) => count > 0));
}

/** A claim as the shipped GPU worker makes it. */
async function gpuClaim(connection: Sql | Session, worker = "gpu-1"): Promise<Claimed | null> {
  const text = "select claim_next_task(for_worker => $1, for_run_type => 'gpu') as claimed";
  if (typeof connection === "function") {
    return (await connection.query<{ claimed: Claimed | null }[]>(text, [worker]))[0]?.claimed ?? null;
  }
  return (await connection.query<{ claimed: Claimed | null }>(text, [worker])).rows[0]?.claimed ?? null;
}

async function heartbeat(sql: Sql, worker: string, report: Record<string, unknown> = {}): Promise<void> {
  await sql`select worker_heartbeat(null, ${worker}, ${json(report)})`;
}

/** A database where `sharedType` is of the run type `gpu`, and the queue is tended. */
function withSharedType(run: (sql: Pool, user: TestUser, session: () => Promise<Session>) => Promise<void>) {
  return withDatabase(async ({ sql, session }) => {
    await sql`update task_types set run_type = 'gpu' where name = ${sharedType}`;
    await sql`select configure_fal(true)`;
    await sql`select tend_queue()`;
    await run(sql, await createUser(sql), session);
  });
}

const shared = (user: TestUser, sql: Sql) => queueTask(sql, user, { taskType: sharedType });

/** As after this time: every queued task has waited it. */
async function wait(sql: Sql, seconds: number): Promise<void> {
  await sql`
    update tasks set ready_at = ready_at - make_interval(secs => ${seconds}) where status = 'Queued'`;
  await sql`update task_lanes set waits_since = waits_since - make_interval(secs => ${seconds})`;
  await sql`select tend_queue()`;
}

/** The worker has said nothing for two minutes. */
async function fallSilent(sql: Sql, worker: string): Promise<void> {
  await sql`
    update workers set last_heartbeat = last_heartbeat - interval '121 seconds',
                       last_claim_at = last_claim_at - interval '121 seconds' where id = ${worker}`;
}

test("task_types.runners lists what FAL's worker and the sandbox run, and only these", () =>
  withDatabase(async ({ sql }) => {
    for (const [runner, types] of [
      ["fal", falTaskTypes],
      ["sandbox", sandboxTaskTypes],
    ] as const) {
      const rows = await sql<{ name: string }[]>`
        select name from task_types where ${runner} = any (runners) and alias_of is null order by name`;
      assert.deepEqual(
        rows.map(({ name }) => name),
        types.filter((type) => type !== "image-upscale").sort(),
        runner,
      );
    }
  }));

test("FAL takes a task by its rule, the own workers that are active, and how long the task has waited", () =>
  withSharedType(async (sql, user) => {
    const owner = await createUser(sql);
    const workers: Record<string, () => Promise<unknown>> = {
      "no worker": () => Promise.resolve(),
      "a GPU worker that claims": () => gpuClaim(sql),
      "a GPU worker that has only sent a heartbeat": () => heartbeat(sql, "gpu-1"),
      "a worker that claims this task type": () =>
        sql`select claim_next_task(for_worker => 'own-1', only_task_types => ${[sharedType]})`,
      "a worker that claims another task type": () =>
        sql`select claim_next_task(for_worker => 'own-1', only_task_types => ${["travel_segment"]})`,
      "an API worker": () => sql`select claim_next_task(for_worker => 'api-1', for_run_type => 'api')`,
      "a GPU worker that is silent": async () => {
        await heartbeat(sql, "gpu-1");
        await gpuClaim(sql);
        await fallSilent(sql, "gpu-1");
      },
      "a GPU worker that crashed": async () => {
        await gpuClaim(sql);
        await heartbeat(sql, "gpu-1", { status: "crashed" });
      },
      "a GPU worker that an operator takes out of service": async () => {
        await gpuClaim(sql);
        await sql`update workers set status = 'terminating' where id = 'gpu-1'`;
      },
      "an owner's own worker": () => claim(sql, "home", owner.userId),
      "a sandbox": () => claim(sql, "sandbox-1"),
      "another FAL worker": () => falClaim(sql, { worker: "fal-2" }),
    };
    const active = [
      "a GPU worker that claims",
      "a GPU worker that has only sent a heartbeat",
      "a worker that claims this task type",
    ];
    for (const [name, begin] of Object.entries(workers)) {
      for (const rule of ["missing", "all", "none"] as const) {
        for (const hasWaited of [false, true]) {
          await sql`delete from workers`;
          await begin();
          const task = await shared(user, sql);
          if (hasWaited) await wait(sql, 301);
          const taken = (await falClaim(sql, { rule }))?.task_id;
          const expected = rule === "all" || (rule === "missing" && (hasWaited || !active.includes(name)));
          assert.equal(
            taken,
            expected ? task : undefined,
            `${name}, ${rule}, ${hasWaited ? "waited" : "new"}`,
          );
          await setStatus(sql, task, "Cancelled");
        }
      }
    }
  }));

test("a type that no own worker can run goes to FAL at once, beside active own workers", () =>
  withSharedType(async (sql, user) => {
    await gpuClaim(sql);
    const task = await queueTask(sql, user, {
      taskType: "image_upscale",
      params: { image: "https://a.example/b.png" },
    });
    assert.equal((await falClaim(sql))?.task_id, task);
  }));

test("a worker that names no task types is not given what only FAL can run, while FAL is active", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const shipped = async (runType: string | null, types: string[] | null = null) => {
      const [row] = await sql<
        { claimed: { task_type: string } | { debug: Record<string, number> } | null }[]
      >`
        select claim_next_task(for_worker => 'shipped', for_run_type => ${runType}, only_task_types => ${types}, debug => true)
          as claimed`;
      const claimed = row?.claimed;
      return claimed && "debug" in claimed ? claimed.debug["left_to_fal"] : claimed?.task_type;
    };
    await sql`select configure_fal(true)`;
    await sql`select tend_queue()`;
    const ofFal = [
      { taskType: "single_image", runType: "api" },
      { taskType: "lora_training", runType: "api" },
      { taskType: "video_enhance", runType: "api" },
      { taskType: "image_upscale", runType: "gpu" },
      { taskType: "wan_2_2_i2v", runType: "gpu" },
    ];
    for (const { taskType, runType } of ofFal) {
      for (const rule of ["missing", "all", "none"] as const) {
        await falClaim(sql, { rule, types: ["generate_openpose"] });
        await queueTask(sql, user, { taskType });
        const isLeft = rule !== "none";
        assert.equal(await shipped(runType), isLeft ? 1 : taskType, `${taskType}, ${rule}`);
        if (isLeft) {
          assert.equal(await shipped(null), 1, `${taskType}, ${rule}, any run type`);
          // What shipped workers run they are given as before, from behind it too.
          await queueTask(sql, user, { taskType: "qwen_image" });
          assert.equal(await shipped("api"), "qwen_image");
          // Who names the type runs it.
          assert.equal(await shipped(null, [taskType]), taskType);
        }
        for (const { id } of await sql<{ id: string }[]>`select id from tasks where status <> 'Cancelled'`) {
          await setStatus(sql, id, "Cancelled");
        }
      }
    }

    // FAL's worker is gone: whoever asks may have it.
    await falClaim(sql, { rule: "missing", types: ["generate_openpose"] });
    await queueTask(sql, user, { taskType: "single_image" });
    await sql`update queue_settings set fal_seen_at = now() - interval '121 seconds'`;
    assert.equal(await shipped("api"), "single_image");
  }));

test("a shipped API worker that counts tasks and claims nothing is active", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    await queueTask(sql, user);
    await sql`select task_counts_for(null, 'gpu', false)`;
    await sql`select task_counts_for(null, 'api', true)`;
    assert.equal(await falClaim(sql), null);
    await sql`update queue_settings set api_worker_seen_at = now() - interval '121 seconds'`;
    assert.ok(await falClaim(sql));
  }));

test("of a task that FAL and a GPU worker claim at once one gets it, in either order", () =>
  withSharedType(async (sql, user, open) => {
    const [one, other] = [await open(), await open()];
    const first = await shared(user, sql);
    await one.query("begin");
    assert.equal((await sessionFalClaim(one))?.task_id, first);
    assert.equal(await gpuClaim(other), null);
    await one.query("commit");
    assert.equal(await gpuClaim(other), null);

    // The GPU worker counts as active since its claim a moment ago; FAL does whatever is there by the rule `all`.
    const second = await shared(user, sql);
    await one.query("begin");
    assert.equal((await gpuClaim(one))?.task_id, second);
    assert.equal(await sessionFalClaim(other, { rule: "all" }), null);
    await one.query("commit");
    assert.equal(await sessionFalClaim(other), null);
  }));

test("a claim waits for nobody who holds the settings or its worker's row", () =>
  withSharedType(async (sql, user, open) => {
    const [holder, claimer] = [await open(), await open()];
    await falClaim(sql);
    const task = await shared(user, sql);
    await sql`update queue_settings set fal_seen_at = '-infinity'`;
    await sql`update workers set last_claim_at = null`;
    await holder.query("begin");
    await holder.query("update queue_settings set tended_at = now()");
    await holder.query("select from workers where id = 'fal-1' for update");
    await claimer.query("set lock_timeout = '1s'");
    assert.equal((await sessionFalClaim(claimer, { rule: "all" }))?.task_id, task);
    await holder.query("rollback");
  }));

test("a task whose GPU worker dies during its run goes to FAL when the lease has ended", () =>
  withSharedType(async (sql, user) => {
    await heartbeat(sql, "gpu-1");
    const task = await shared(user, sql);
    assert.equal((await gpuClaim(sql))?.task_id, task);
    await sql`select tend_queue()`;
    assert.equal(await falClaim(sql), null);

    await fallSilent(sql, "gpu-1");
    await sql`update tasks set lease_expires_at = now() - interval '1 second' where id = ${task}`;
    assert.equal(await falClaim(sql), null);
    await sql`select tend_queue()`;
    assert.equal((await falClaim(sql))?.task_id, task);
  }));

test("a task whose GPU worker dies goes to another GPU worker first, and its wait begins anew", () =>
  withSharedType(async (sql, user) => {
    const task = await shared(user, sql);
    await wait(sql, 290);
    await gpuClaim(sql, "gpu-1");
    await heartbeat(sql, "gpu-2");
    await heartbeat(sql, "gpu-1", { status: "crashed" });
    const [waiting] =
      await sql`select now() - ready_at < '10 seconds' as is_anew from tasks where id = ${task}`;
    assert.equal(waiting?.["is_anew"], true);
    await wait(sql, 20);
    assert.equal(await falClaim(sql), null);
    assert.equal((await gpuClaim(sql, "gpu-2"))?.task_id, task);
  }));

test("a busy worker that sends no heartbeats is active while its lease is valid", () =>
  withSharedType(async (sql, user) => {
    await shared(user, sql);
    const running = (await gpuClaim(sql))?.task_id;
    await shared(user, sql);
    await fallSilent(sql, "gpu-1");
    assert.equal(await falClaim(sql), null);
    await sql`update tasks set lease_expires_at = now() - interval '1 second' where id = ${running ?? ""}`;
    assert.ok(await falClaim(sql));
  }));

test("FAL takes of a lane what has waited long enough, and leaves what came later", () =>
  withSharedType(async (sql, user) => {
    await gpuClaim(sql);
    const [old, older] = [await shared(user, sql), await shared(user, sql)];
    await wait(sql, 400);
    const fresh = await shared(user, sql);
    assert.deepEqual(
      [(await falClaim(sql))?.task_id, (await falClaim(sql))?.task_id, await falClaim(sql)],
      [old, older, null],
    );
    const [lane] = await sql`select is_late from task_lanes where task_type = ${sharedType}`;
    assert.equal(lane?.["is_late"], false);
    assert.equal((await gpuClaim(sql))?.task_id, fresh);
  }));

test("a GPU worker that takes a lane's last late task leaves nothing for FAL to look at", () =>
  withSharedType(async (sql, user) => {
    await gpuClaim(sql);
    await shared(user, sql);
    await wait(sql, 400);
    await shared(user, sql);
    assert.ok(await gpuClaim(sql));
    const [lane] = await sql`select is_open, is_late from task_lanes where task_type = ${sharedType}`;
    assert.deepEqual({ ...lane }, { is_open: true, is_late: false });
  }));

test("a task's wait for own workers begins when its dependency is complete or its time has come", () =>
  withSharedType(async (sql, user) => {
    const before = await queueTask(sql, user, { taskType: "travel_segment" });
    const blocked = await queueTask(sql, user, { taskType: sharedType, dependantOn: [before] });
    const runAfter = new Date(Date.now() + 3_600_000);
    const scheduled = await queueTask(sql, user, { taskType: sharedType, runAfter });
    assert.equal((await gpuClaim(sql))?.task_id, before);
    await wait(sql, 400);
    await complete(sql, before);
    await sql`update tasks set run_after = now() - interval '1 second' where id = ${scheduled}`;
    await sql`select tend_queue()`;
    assert.equal(await falClaim(sql), null);
    await wait(sql, 400);
    const taken = [(await falClaim(sql))?.task_id, (await falClaim(sql))?.task_id];
    assert.deepEqual(taken.sort(), [blocked, scheduled].sort());
  }));

test("a task that FAL has begun is resumed by FAL beside active own workers, which take the next", () =>
  withSharedType(async (sql, user) => {
    const begun = await shared(user, sql);
    const run = await falClaim(sql);
    assert.equal(run?.task_id, begun);
    const job = { provider: "fal", model: "fal-ai/qwen-image", request_id: "r-1" };
    await setStatus(sql, begun, "In Progress", {
      worker: "fal-1",
      attempt: 1,
      changes: { provider_job: { ...job, request_id: undefined } },
    });
    await setStatus(sql, begun, "In Progress", {
      worker: "fal-1",
      attempt: 1,
      changes: { provider_job: job },
    });
    await gpuClaim(sql);
    await setStatus(sql, begun, "Queued", { worker: "fal-1", attempt: 1, changes: { given_back: true } });
    const next = await shared(user, sql);

    assert.equal((await gpuClaim(sql))?.task_id, next);
    assert.equal(await gpuClaim(sql), null);
    const resumed = await falClaim(sql);
    assert.equal(resumed?.task_id, begun);
    assert.equal(
      (resumed as unknown as { provider_job: { request_id: string } }).provider_job.request_id,
      "r-1",
    );

    // Where FAL is gone, its job is no reason to wait.
    await setStatus(sql, begun, "Queued", { worker: "fal-1", attempt: 2, changes: { given_back: true } });
    await sql`update queue_settings set fal_seen_at = now() - interval '3 minutes'`;
    assert.equal((await gpuClaim(sql))?.task_id, begun);
  }));

test("an owner's FAL worker leaves the owner's tasks to the owner's active GPU worker, and follows its own rule", () =>
  withSharedType(async (sql, user) => {
    const stranger = await createUser(sql);
    await claim(sql, "home", stranger.userId);
    await gpuClaim(sql);
    await falClaim(sql, { rule: "none" });
    const task = await shared(user, sql);
    assert.equal(await falClaim(sql), null);
    assert.equal((await falClaim(sql, { forUser: user.userId }))?.task_id, task);
    const [settings] = await sql`select fal_runs from queue_settings`;
    assert.equal(settings?.["fal_runs"], "none");

    await claim(sql, "home", user.userId);
    const next = await shared(user, sql);
    assert.equal(await falClaim(sql, { forUser: user.userId }), null);
    assert.equal(await falClaim(sql, { forUser: user.userId, rule: "none" }), null);
    await wait(sql, 50);
    assert.equal((await falClaim(sql, { forUser: user.userId, afterSeconds: 40 }))?.task_id, next);
    assert.equal(await falClaim(sql, { forUser: stranger.userId }), null);
  }));

test("what a FAL worker states as its rule holds for the database, and is written when it changes", () =>
  withDatabase(async ({ sql }) => {
    const read = async () => {
      const [row] = await sql`
        select fal_runs, extract(epoch from fal_after)::int as after, fal_is_configured, xmin from queue_settings`;
      return row;
    };
    await sql`update queue_settings set tended_at = now()`;
    assert.equal((await read())?.["fal_is_configured"], false);
    await falClaim(sql, { rule: "all", afterSeconds: 60 });
    const written = await read();
    assert.deepEqual(
      [written?.["fal_runs"], written?.["after"], written?.["fal_is_configured"]],
      ["all", 60, true],
    );
    await falClaim(sql, { rule: "all", afterSeconds: 60 });
    await falClaim(sql);
    assert.deepEqual(await read(), written);
  }));

/** Types that FAL has no recipe for, as far as the rule knows. */
async function leaveToOthers(sql: Sql, types: readonly string[]): Promise<void> {
  await sql`update task_types set runners = array_remove(runners, 'fal') where name = any (${[...types]})`;
}

test("the sandbox takes what neither FAL nor an own worker can run, once these are there", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const types = ["z_image_turbo", "travel_segment", "single_image"] as const;
    await leaveToOthers(sql, ["travel_segment", "single_image"]);
    const takes = async (options: FalClaim = { provider: "sandbox" }) => {
      const taken = [];
      for (const taskType of types) {
        const task = await queueTask(sql, user, { taskType });
        if (await falClaim(sql, { worker: "trial", types: [taskType], ...options })) taken.push(taskType);
        await setStatus(sql, task, "Cancelled");
      }
      return taken;
    };
    assert.deepEqual(await takes(), [...types]);
    await sql`select configure_fal(true)`;
    assert.deepEqual(await takes(), ["travel_segment", "single_image"]);
    await sql`select configure_fal(false)`;
    await gpuClaim(sql);
    assert.deepEqual(await takes(), ["z_image_turbo", "single_image"]);
    // A name is enough, so that older sandboxes and those that state nothing are held to it.
    const named = await queueTask(sql, user, { taskType: "travel_segment" });
    assert.equal(await claim(sql, "sandbox-old"), null);
    await setStatus(sql, named, "Cancelled");
    // What it draws for its owner is free.
    assert.deepEqual(await takes({ provider: "sandbox", forUser: user.userId }), [...types]);
    await sql`update workers set status = 'terminated', last_claim_at = now() - interval '31 days' where id = 'gpu-1'`;
    assert.deepEqual(await takes(), [...types]);
  }));

test("an empty claim of a provider says what is left to others", () =>
  withSharedType(async (sql, user) => {
    await leaveToOthers(sql, ["travel_segment"]);
    await gpuClaim(sql);
    await shared(user, sql);
    assert.deepEqual(await explained(sql), { queued: 1, left_to_own_workers: 1 });
    assert.deepEqual(await explained(sql, { rule: "none" }), { queued: 1, fal_runs_none: 1 });
    const all = { provider: "sandbox" as const, types: sandboxTaskTypes, worker: "trial" };
    assert.deepEqual(await explained(sql, all), { queued: 1, left_to_fal_or_own_workers: 1 });
    await queueTask(sql, user, { taskType: "travel_segment" });
    assert.deepEqual(await explained(sql, { rule: "missing" }), {
      queued: 2,
      left_to_own_workers: 1,
      other_task_type: 1,
    });
  }));

interface Scale {
  wanted_workers: number;
  fal: { runs: string; is_active: boolean; left: number; running: number };
}

test("scale and task-counts want own workers for what is left to them, and none for what is left to FAL", () =>
  withSharedType(async (sql, user) => {
    const scale = async () => {
      const [row] = await sql<{ scale: Scale }[]>`select scale('gpu') as scale`;
      return [row?.scale.wanted_workers, row?.scale.fal.left, row?.scale.fal.running];
    };
    const counts = async () => {
      const [row] = await sql<{ counts: { totals: Record<string, number> } }[]>`
        select task_counts_for(null, 'gpu') as counts`;
      const { queued_only, left_to_fal, active_only, eligible_queued } = row?.counts.totals ?? {};
      return [queued_only, left_to_fal, active_only, eligible_queued];
    };
    await shared(user, sql);
    await queueTask(sql, user, { taskType: "image_upscale", params: { image: "https://a.example/b.png" } });
    assert.deepEqual(
      [await scale(), await counts()],
      [
        [2, 0, 0],
        [2, 0, 0, 2],
      ],
    );

    // FAL is active, and may take both; an upscale is nothing for an own worker.
    await falClaim(sql, { rule: "missing", types: ["z_image_turbo"] });
    assert.deepEqual(
      [await scale(), await counts()],
      [
        [1, 1, 0],
        [1, 1, 0, 2],
      ],
    );
    assert.equal((await falClaim(sql, { types: [sharedType] }))?.params["prompt"], "a fox");
    assert.deepEqual(
      [await scale(), await counts()],
      [
        [1, 1, 1],
        [0, 1, 1, 1],
      ],
    );
    await shared(user, sql);
    await falClaim(sql, { rule: "all", types: ["z_image_turbo"] });
    assert.deepEqual(
      [await scale(), await counts()],
      [
        [0, 2, 1],
        [0, 2, 0, 2],
      ],
    );

    // When FAL has not been seen for a while, its tasks are work for own workers.
    await sql`update queue_settings set fal_seen_at = now() - interval '3 minutes'`;
    assert.equal((await scale())[0], 3);
  }));

test("queue-position says whether a task waits for a worker, for FAL or for either", () =>
  withSharedType(async (sql, user) => {
    const position = async (task: string) => {
      const [row] = await sql<{ place: Record<string, unknown> }[]>`
        select queue_position(${user.userId}, ${task}) as place`;
      const {
        waits_for,
        fal_takes_it_in_seconds: seconds,
        reason,
        estimated_start_seconds,
      } = row?.place ?? {};
      return [
        waits_for,
        seconds === null ? null : Math.round(Number(seconds) / 10) * 10,
        reason,
        estimated_start_seconds !== null,
      ];
    };
    const task = await shared(user, sql);
    const upscale = await queueTask(sql, user, {
      taskType: "image_upscale",
      params: { image: "https://a.example/b.png" },
    });
    assert.deepEqual(await position(task), ["worker", null, "no_workers", false]);
    await falClaim(sql, { rule: "missing", types: ["z_image_turbo"] });
    assert.deepEqual(await position(task), ["fal", 0, "left_to_fal", false]);
    await heartbeat(sql, "gpu-1");
    assert.deepEqual(await position(task), ["worker", 300, null, true]);
    assert.deepEqual(await position(upscale), ["fal", 0, "left_to_fal", false]);
    await wait(sql, 100);
    assert.deepEqual(await position(task), ["worker", 200, null, true]);
    await falClaim(sql, { rule: "all", types: ["z_image_turbo"] });
    assert.deepEqual(await position(task), ["worker_or_fal", 0, null, true]);
    await falClaim(sql, { rule: "none", types: ["z_image_turbo"] });
    assert.deepEqual(await position(task), ["worker", null, null, true]);
    await setStatus(sql, task, "Cancelled");
    assert.deepEqual(await position(task), [null, null, "ended", false]);
  }));

test("a claim of FAL reads as much with 400 users whose tasks it leaves to own workers as with 20", (context) =>
  withSharedType(async (sql, user) => {
    await gpuClaim(sql);
    const read = async (query: string, params: unknown[]) => {
      const rows = await sql.query<{ "QUERY PLAN": { Plan: Record<string, number> }[] }[]>(
        `explain (analyze, buffers, format json) ${query}`,
        params as never,
      );
      const plan = rows[0]?.["QUERY PLAN"][0]?.Plan ?? {};
      return (plan["Shared Hit Blocks"] ?? 0) + (plan["Shared Read Blocks"] ?? 0);
    };
    const more = async (count: number) => {
      await sql`
        insert into auth.users (id, email, is_anonymous)
        select id, id || '@example.com', true
          from (select gen_random_uuid() as id from generate_series(1, ${count}::integer)) as made`;
      await sql`
        insert into projects (user_id, name)
        select id, 'many' from users where not exists (select from projects where user_id = users.id)`;
      const people = await sql<{ user_id: string; id: string }[]>`
        select user_id, id from projects where name = 'many'
           and not exists (select from tasks where tasks.project_id = projects.id)`;
      await sql`select add_credit(user_id, 'manual', 1000000) from projects where id = any (${people.map(({ id }) => id)})`;
      await sql`
        select create_task(null, jsonb_build_array(jsonb_build_object(
                 'task_type', ${sharedType}::text, 'params', '{"prompt": "a fox"}'::jsonb, 'project_id', id)), false)
          from projects where id = any (${people.map(({ id }) => id)})`;
      return people.length;
    };
    const costs: number[] = [];
    for (const count of [20, 380]) {
      assert.equal(await more(count), count);
      await sql`analyze`;
      // Warm caches of the connection, and the row of the worker.
      for (let round = 0; round < 2; round++) assert.equal(await falClaim(sql), null);
      costs.push(await read(falClaimText, falClaimParams({})));
    }
    const [few = 0, many = 0] = costs;
    context.diagnostic(`${few} blocks with 20 users, ${many} with 400`);
    assert.ok(many < few * 1.5 + 50, `${few} blocks with 20 users, ${many} with 400`);
    assert.ok(user);
  }));
