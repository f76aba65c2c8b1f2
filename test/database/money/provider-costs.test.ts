/** What providers bill for tasks: it is recorded once for each job, and no job is submitted at a loss. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { json, type Sql } from "../../../supabase/functions/_shared/database/sql.ts";
import { type Session, withDatabase } from "../../support/database.ts";
import { useDefaultPrices } from "../../support/default-prices.ts";
import {
  accountOf,
  claim,
  complete,
  createUser,
  queueTask,
  refusedWith,
  setStatus,
  type TestUser,
  wrongAccounts,
} from "../../support/factories.ts";
import { randomFrom } from "../../support/orders.ts";

const model = "fal-ai/z-image/turbo";
/** Of z_image_turbo, and of two megapixels of its model with the fee of each job. */
const price = 24_000;
const jobCost = 12_500;
const units = { images: 1, megapixels: 2 };
const intent = { provider: "fal", model, units };

type Note = Record<string, unknown> | null;

function note(connection: Sql | Session, taskId: string, attempt: number, job: Note, more: object = {}) {
  return setStatus(connection, taskId, "In Progress", { attempt, changes: { provider_job: job, ...more } });
}

async function costOf(sql: Sql, taskId: string): Promise<{ cost: number; jobs: number } | undefined> {
  const [row] = await sql<{ cost: number; jobs: number }[]>`
    select provider_cost_microusd::int as cost, jobs::int from task_provider_costs where task_id = ${taskId}`;
  return row && { ...row };
}

async function statusOf(sql: Sql, taskId: string): Promise<unknown[]> {
  const [row] = await sql<{ status: string; error_message: string | null }[]>`
    select status, error_message from tasks where id = ${taskId}`;
  return [row?.status, row?.error_message];
}

async function running(
  sql: Sql,
  options: { user?: TestUser; taskType?: string; params?: Record<string, unknown> } = {},
): Promise<{ taskId: string; user: TestUser }> {
  const { user = await createUser(sql), ...task } = options;
  const taskId = await queueTask(sql, user, task);
  assert.equal((await claim(sql, "worker"))?.task_id, taskId);
  return { taskId, user };
}

test("the cost of a job is its units times the price in force, rounded up once, with minimum, variant and fee", () =>
  withDatabase(async ({ sql }) => {
    const random = randomFrom(14);
    const below = (limit: number) => Math.floor(random() * limit);
    const cost = async (name: string, given: unknown) => {
      const [row] = await sql<{ cost: bigint | number | null }[]>`
        select cost_of_provider_call('fal', ${name}, ${json(given)}) as cost`;
      return row?.cost === null || row?.cost === undefined ? null : BigInt(row.cost);
    };
    for (let run = 0; run < 60; run++) {
      const unit = (["image", "megapixel", "second", "training_step"] as const)[run % 4] ?? "image";
      const counted = {
        image: "images",
        megapixel: "megapixels",
        second: "seconds",
        training_step: "training_steps",
      }[unit];
      const wanted = {
        provider: "fal",
        model: `fal-ai/random/${run}`,
        unit,
        price_microusd: below(1_000_000),
        variant_prices: random() < 0.5 ? {} : { "480p": below(1_000_000), "720p": below(1_000_000) },
        minimum_units: below(3),
        job_fee_microusd: below(2) * below(10_000),
      };
      await sql`select publish_provider_price(${json(wanted)}, 'ada', 'random', ${randomUUID()})`;
      // In sixteenths, as films have them.
      const sixteenths = below(4_000);
      const variant = [undefined, "480p", "720p", "1080p"][below(4)];
      const prices = wanted.variant_prices as Record<string, number>;
      const each =
        (variant === undefined ? undefined : prices[variant]) ??
        Math.max(wanted.price_microusd, ...Object.values(prices));
      const most = BigInt(Math.max(sixteenths, wanted.minimum_units * 16));
      const expected = (BigInt(each) * most + 15n) / 16n + BigInt(wanted.job_fee_microusd);
      const given = { [counted]: sixteenths / 16, ...(variant && { variant }) };
      assert.equal(await cost(wanted.model, given), expected, JSON.stringify({ wanted, given }));
    }
    // Unknown: no price, no count, and no number.
    assert.equal(await cost("fal-ai/unknown", { images: 1 }), null);
    await useDefaultPrices(sql);
    for (const given of [{}, { images: 2 }, { megapixels: "2" }, { megapixels: -1 }, null]) {
      assert.equal(await cost(model, given), null, JSON.stringify(given));
    }
    // Where there is a minimum, it stands for a count that is not said.
    assert.equal(await cost("fal-ai/ffmpeg-api/extract-frame", { images: 1 }), 1_000n);
  }));

test("a provider's price is never changed or removed, and a later version counts from its time on", () =>
  withDatabase(async ({ sql }) => {
    await assert.rejects(sql`update provider_prices set price_microusd = 1`, /kept/);
    await assert.rejects(sql`delete from provider_prices`, /kept/);
    const publish = (amount: number, from: string | null) => sql`
      select publish_provider_price(
        ${json({ provider: "fal", model, unit: "job", price_microusd: amount, valid_from: from })}, 'ada', 'test', ${randomUUID()})`;
    const now = async () =>
      (await sql`select cost_of_provider_call('fal', ${model}, '{}') as cost`)[0]?.["cost"];
    await publish(700, new Date(Date.now() + 3_600_000).toISOString());
    assert.equal(Number(await now()), 0);
    await publish(600, null);
    assert.equal(Number(await now()), 600);
  }));

test("a job is added to its task's cost once, when it is submitted, however often it is noted; the next run's job is added", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    // Of two pictures, so that the price covers two runs.
    const { taskId, user } = await running(sql, { params: { prompt: "a fox", num_images: 2 } });
    await note(sql, taskId, 1, intent);
    assert.equal(await costOf(sql, taskId), undefined);
    for (let repeat = 0; repeat < 3; repeat++) {
      await note(sql, taskId, 1, { provider: "fal", model, request_id: "job-1" });
    }
    assert.deepEqual(await costOf(sql, taskId), { cost: jobCost, jobs: 1 });
    // It took too long, and may be billed: the next run begins another.
    await setStatus(sql, taskId, "Queued", { attempt: 1, changes: { provider_job: null } });
    await sql`update tasks set run_after = null, is_scheduled = false where id = ${taskId}`;
    assert.equal((await claim(sql, "heir"))?.task_id, taskId);
    await note(sql, taskId, 2, intent);
    await note(sql, taskId, 2, { provider: "fal", model, request_id: "job-2" });
    assert.deepEqual(await costOf(sql, taskId), { cost: 2 * jobCost, jobs: 2 });
    await complete(sql, taskId, { attempt: 2 });
    assert.deepEqual(await costOf(sql, taskId), { cost: 2 * jobCost, jobs: 2 });
    assert.deepEqual(await wrongAccounts(sql), []);
    // The operator's receipt says it, the owner's does not.
    const [receipt] = await sql<{ operators: object; owners: object }[]>`
      select get_receipt(null, null, ${taskId}, null) as operators, get_receipt(${user.userId}, null, ${taskId}, null) as owners`;
    assert.ok(receipt);
    assert.equal((receipt.operators as Record<string, unknown>)["provider_cost_microusd"], 2 * jobCost);
    assert.ok(!("provider_cost_microusd" in receipt.owners));
  }));

test("a job that failed at the provider, or was withdrawn before it began, costs nothing; one that ran does", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    const submitted = async (id: string) => {
      const { taskId } = await running(sql);
      await note(sql, taskId, 1, intent);
      await note(sql, taskId, 1, { provider: "fal", model, request_id: id });
      return taskId;
    };
    const failed = await submitted("failed-at-first");
    const ended = {
      attempt: 1,
      changes: { ended_provider_steps: [0], unbilled_provider_steps: [0], error_details: "no" },
    };
    await setStatus(sql, failed, "Queued", ended);
    assert.deepEqual(await costOf(sql, failed), { cost: 0, jobs: 1 });
    await sql`select end_task(${failed}, 'Cancelled', 'enough')`;
    for (const [outcome, cost] of [
      ["withdrawn", 0],
      ["failed", 0],
      ["ran", jobCost],
    ] as const) {
      const taskId = await submitted(outcome);
      await setStatus(sql, taskId, "Cancelled");
      assert.deepEqual(await costOf(sql, taskId), { cost: jobCost, jobs: 1 });
      const [{ id } = { id: "" }] = await sql<{ id: string }[]>`
        select id from provider_withdrawals where task_id = ${taskId}`;
      for (let repeat = 0; repeat < 2; repeat++) await sql`select settle_withdrawal(${id}, ${outcome})`;
      assert.deepEqual(await costOf(sql, taskId), { cost, jobs: 1 }, outcome);
    }
  }));

test("a job whose id becomes known by the webhook, or after its task ended, is added once", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    const key = randomUUID();
    const { taskId } = await running(sql);
    await note(sql, taskId, 1, { ...intent, webhook_key: key });
    // The same intent again says no units.
    await note(sql, taskId, 1, { provider: "fal", model, webhook_key: key });
    await sql`select find_provider_job('fal', array['job-1'], ${key})`;
    assert.deepEqual(await costOf(sql, taskId), { cost: jobCost, jobs: 1 });
    await note(sql, taskId, 1, { provider: "fal", model, request_id: "job-1" });
    assert.deepEqual(await costOf(sql, taskId), { cost: jobCost, jobs: 1 });

    const late = await running(sql);
    await note(sql, late.taskId, 1, intent);
    await setStatus(sql, late.taskId, "Cancelled");
    for (let repeat = 0; repeat < 2; repeat++) {
      await sql`select note_unwanted_job(null, 'fal', ${late.taskId}, 1, 0::smallint, 'job-2')`;
    }
    assert.deepEqual(await costOf(sql, late.taskId), { cost: jobCost, jobs: 1 });

    const told = await running(sql);
    const toldKey = randomUUID();
    await note(sql, told.taskId, 1, { ...intent, webhook_key: toldKey });
    await setStatus(sql, told.taskId, "Cancelled");
    await sql`select settle_withdrawal_by_news('fal', array['job-3'], false, ${toldKey})`;
    assert.deepEqual(await costOf(sql, told.taskId), { cost: jobCost, jobs: 1 });
  }));

test("a run of an owner's own worker has no cost and needs no margin", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    const user = await createUser(sql);
    const taskId = await queueTask(sql, user);
    await claim(sql, "mine", user.userId);
    for (const job of [
      { provider: "fal", model: "fal-ai/unknown" },
      { provider: "fal", model: "fal-ai/unknown", request_id: "mine" },
    ]) {
      await sql`select update_task_status(${user.userId}, 'personal-access-token', ${taskId}, 'In Progress', null, 1,
                                          ${json({ provider_job: job })})`;
    }
    assert.equal(await costOf(sql, taskId), undefined);
    assert.equal((await sql`select from provider_jobs where request_id = 'mine'`).length, 1);
  }));

test("a job that would cost more than its task is charged is not submitted: the task fails, nothing is charged, the operator is alerted once", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    for (const [reason, job] of [
      ["cost_exceeds_charge", { ...intent, units: { megapixels: 5 } }],
      ["provider_price_unknown", { ...intent, model: "fal-ai/unknown" }],
      ["provider_price_unknown", { provider: "fal", model }],
    ] as const) {
      for (let repeat = 0; repeat < 2; repeat++) {
        const { taskId, user } = await running(sql);
        const before = await accountOf(sql, user.userId);
        assert.equal(before.held, price);
        const answer = await note(sql, taskId, 1, job);
        assert.equal(answer["refused"], "sold_below_cost");
        assert.equal((answer["details"] as Record<string, unknown>)["reason"], reason);
        const [status, error] = await statusOf(sql, taskId);
        assert.equal(status, "Failed");
        assert.match(String(error), /^not_available: /);
        assert.doesNotMatch(
          String(error),
          /cost|margin|fal|price/i,
          "the owner reads nothing of the operator's business",
        );
        assert.deepEqual(await accountOf(sql, user.userId), { balance: before.balance, held: 0 });
        assert.deepEqual([...(await sql`select from provider_jobs where task_id = ${taskId}`)], []);
        assert.equal(await costOf(sql, taskId), undefined);
      }
    }
    const alerts = await sql<{ subject: string }[]>`
      select subject from billing_alerts where reason = 'sold_below_cost' order by 1`;
    assert.deepEqual(
      alerts.map(({ subject }) => subject),
      ["z_image_turbo fal fal-ai/unknown", `z_image_turbo fal ${model}`],
    );
    assert.deepEqual(await wrongAccounts(sql), []);
  }));

test("a loss is allowed for one task type, or for all, and by no payer", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    await useDefaultPrices(sql);
    const dear = { ...intent, units: { megapixels: 50 } };
    const isRefused = async (taskType: string) => {
      const { taskId } = await running(sql, {
        taskType,
        params: { prompt: "a fox", image_url: "https://x.example/a.png" },
      });
      const answer = await note(sql, taskId, 1, dear);
      await sql`select end_task(${taskId}, 'Cancelled', 'enough')`;
      return answer["refused"] === "sold_below_cost";
    };
    await sql`update task_types set allows_provider_loss = true where name = 'z_image_turbo'`;
    assert.deepEqual([await isRefused("z_image_turbo"), await isRefused("z_image_turbo_i2i")], [false, true]);
    await sql`update queue_settings set allows_provider_loss = true`;
    assert.equal(await isRefused("z_image_turbo_i2i"), false);
    const { userId } = await createUser(sql);
    const browser = await database.sessionAs("authenticated", { sub: userId });
    for (const statement of [
      "update task_types set allows_provider_loss = true",
      "update queue_settings set allows_provider_loss = true",
      "select * from provider_prices",
      "select * from provider_calls",
      "select * from task_provider_costs",
      "select * from provider_margins",
    ]) {
      await assert.rejects(browser.query(statement), /permission denied/, statement);
    }
  }));

test("the jobs of a task are compared together: of two steps noted at the same time, the one too many is refused", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    await useDefaultPrices(sql);
    const { taskId } = await running(sql);
    const [first, second] = [await database.session(), await database.session()];
    await first.query("begin");
    assert.equal((await note(first, taskId, 1, { ...intent, step: 0 }))["refused"], undefined);
    const other = note(second, taskId, 1, { ...intent, step: 1 });
    await database.lockIsWaitedFor();
    await first.query("commit");
    assert.equal((await other)["refused"], "sold_below_cost");
    assert.equal((await statusOf(sql, taskId))[0], "Failed");
    // The job of the first step, which may be under way, is withdrawn.
    assert.equal(
      (await sql`select from provider_withdrawals where task_id = ${taskId} and state = 'open'`).length,
      1,
    );
  }));

test("a part of an orchestration is compared with its own price, an orchestrator's own jobs with a twentieth of its hold", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    const user = await createUser(sql);
    const orchestrator = await queueTask(sql, user, {
      taskType: "travel_orchestrator",
      params: {
        orchestrator_details: {
          num_new_segments_to_generate: 3,
          segment_frames_expanded: [81, 81, 81],
          parsed_resolution_wh: "1280x720",
        },
      },
    });
    await claim(sql, "worker");
    const cut = (seconds: number) => ({
      provider: "fal",
      model: "fal-ai/workflow-utilities/trim-video",
      step: 0,
      units: { seconds },
    });
    assert.equal((await note(sql, orchestrator, 1, cut(60)))["refused"], undefined);
    await note(sql, orchestrator, 1, { ...cut(60), request_id: "cut" });
    const segment = await queueTask(sql, user, {
      taskType: "travel_segment",
      params: {
        orchestrator_task_id_ref: orchestrator,
        segment_frames_target: 81,
        parsed_resolution_wh: "1280x720",
      },
    });
    assert.equal((await claim(sql, "worker"))?.task_id, segment);
    const film = (seconds: number) => ({
      provider: "fal",
      model: "fal-ai/wan/v2.2-a14b/image-to-video/lora",
      units: { seconds },
    });
    assert.equal((await note(sql, segment, 1, film(81 / 16)))["refused"], undefined);
    await note(sql, segment, 1, { ...film(5), request_id: "film" });
    assert.deepEqual(await costOf(sql, segment), { cost: 506_250, jobs: 1 });
    // What the whole orchestration is charged would cover it; the part's own price does not.
    assert.equal((await note(sql, segment, 1, { ...film(5), step: 1 }))["refused"], "sold_below_cost");
    assert.equal((await statusOf(sql, segment))[0], "Failed");
  }));

test("work that is paid by the second is certain to be paid for the seconds that it has run, and no more", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    await sql`select publish_price('z_image_turbo', 'per_second', 1000, '{}', null, 'ada', 'by the second', 'by-second')`;
    const { taskId } = await running(sql);
    await sql`update tasks set generation_started_at = now() - interval '12.4 seconds' where id = ${taskId}`;
    assert.equal((await note(sql, taskId, 1, intent))["refused"], undefined);
    const short = await running(sql);
    assert.equal((await note(sql, short.taskId, 1, intent))["refused"], "sold_below_cost");
  }));

test("a task's cost outlives its archiving and its deletion; a part that is deleted keeps its own", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    const { taskId, user } = await running(sql);
    await note(sql, taskId, 1, intent);
    await note(sql, taskId, 1, { provider: "fal", model, request_id: "job-1" });
    await complete(sql, taskId, { attempt: 1 });
    await sql`update tasks set updated_at = now() - interval '90 days' where id = ${taskId}`;
    await sql`select archive_finished_tasks()`;
    assert.equal((await sql`select from archived_tasks where id = ${taskId}`).length, 1);
    const margin = async () => {
      const [row] = await sql<{ report: Record<string, unknown> }[]>`
        select provider_margin((now() at time zone 'UTC')::date, (now() at time zone 'UTC')::date + 1) as report`;
      return row?.report;
    };
    const { lines, ...totals } = (await margin()) as { lines: Record<string, unknown>[] };
    assert.equal(lines.length, 1);
    assert.deepEqual(
      { ...lines[0], day: null },
      {
        day: null,
        task_type: "z_image_turbo",
        tasks: 1,
        jobs: 1,
        revenue_microusd: price,
        provider_cost_microusd: jobCost,
        margin_microusd: price - jobCost,
      },
    );
    assert.equal((totals as Record<string, unknown>)["margin_microusd"], price - jobCost);
    await sql`delete from projects where id = ${user.projectId}`;
    const { lines: left } = (await margin()) as { lines: Record<string, unknown>[] };
    assert.deepEqual([left[0]?.["revenue_microusd"], left[0]?.["provider_cost_microusd"]], [price, jobCost]);
  }));

test("the margin of some days is read by their index, whatever there is of other days", () =>
  withDatabase(async ({ sql }) => {
    await sql`
      insert into task_provider_costs (task_id, user_id, task_type, day, jobs, provider_cost_microusd)
      select gen_random_uuid(), gen_random_uuid(), 'qwen_image', date '2025-01-01' + (number % 500), 1, 10
        from generate_series(1, 20000) as number`;
    await sql`analyze task_provider_costs`;
    const plan = await sql<Record<string, string>[]>`
      explain select * from provider_margins where day >= date '2025-03-01' and day < date '2025-03-03'`;
    const text = plan.map((row) => row["QUERY PLAN"]).join("\n");
    assert.match(text, /task_provider_costs_by_day/);
    assert.doesNotMatch(text, /Seq Scan on task_provider_costs/);
    const [row] = await sql<{ report: { tasks: number; provider_cost_microusd: number } }[]>`
      select provider_margin('2025-03-01', '2025-03-03') as report`;
    assert.deepEqual([row?.report.tasks, row?.report.provider_cost_microusd], [80, 800]);
    for (const [from, to] of [
      ["2025-03-01", "2025-03-01"],
      ["2025-01-01", "2026-01-03"],
    ] as const) {
      assert.equal(
        await refusedWith(Promise.resolve(sql`select provider_margin(${from}::date, ${to}::date)`)),
        "invalid_request",
      );
    }
  }));

test("the doctor names types that are sold below what their models cost, prices that are missing, and tasks that cost more than they brought in", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    const faults = async () =>
      [...(await sql<{ rule: string; row_id: string }[]>`select rule, row_id from find_margin_faults()`)].map(
        ({ rule, row_id }) => `${rule} ${row_id}`,
      );
    assert.deepEqual(await faults(), [], "the default prices cover what their models cost");
    await sql`select publish_price('image_inpaint', 'per_unit', 2000, '{}', null, 'ada', 'cheap', 'cheap')`;
    await sql`insert into provider_models values ('qwen_image', 'fal', 'fal-ai/unheard-of', '{}', '{"images": 1}')`;
    const { taskId } = await running(sql);
    await note(sql, taskId, 1, intent);
    await note(sql, taskId, 1, { provider: "fal", model, request_id: "job-1" });
    await setStatus(sql, taskId, "Failed", {
      attempt: 1,
      changes: { provider_job: null, error_details: "no use" },
    });
    const expected = [
      "type_sold_below_cost image_inpaint fal-ai/qwen-image-edit/inpaint",
      "provider_price_unknown qwen_image fal-ai/unheard-of",
      `task_cost_exceeds_charge ${taskId}`,
    ];
    assert.deepEqual((await faults()).toSorted(), expected.toSorted());
    const [row] = await sql<
      { found: { healthy: boolean; faults: { room: string }[] } }[]
    >`select doctor() as found`;
    assert.equal(row?.found.healthy, false);
    assert.equal(row.found.faults.filter(({ room }) => room === "margin").length, 3);
    // What the operator allows is no fault.
    await sql`update task_types set allows_provider_loss = true where name in ('image_inpaint', 'qwen_image', 'z_image_turbo')`;
    assert.deepEqual(await faults(), []);
  }));
