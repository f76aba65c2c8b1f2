import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import * as fc from "fast-check";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { refusal } from "../../supabase/functions/_shared/database/database.ts";
import { AppError } from "../../supabase/functions/_shared/errors/app-error.ts";
import { type Session, withDatabase } from "../support/database.ts";
import { type Claimed, complete, createUser } from "../support/factories.ts";
import {
  isOver,
  type ModelProject,
  type ModelTask,
  type ModelTaskType,
  type ModelUser,
  type ModelWorker,
  type NewTask,
  QueueModel,
  type Status,
} from "../support/queue-model.ts";
import { brokenPromises, leftovers, queueRows } from "../support/queue-rows.ts";
import { json } from "../../supabase/functions/_shared/database/sql.ts";

// More than usual: DARKROOM_PROPERTY_RUNS=5000 DARKROOM_PROPERTY_SEED=7 npm test -- queue-model --test-timeout=3600000
// A failure is run again by its seed and its path: DARKROOM_PROPERTY_PATH.
const runs = Number(process.env["DARKROOM_PROPERTY_RUNS"] ?? 25);
const seed = Number(process.env["DARKROOM_PROPERTY_SEED"] ?? 20260);
const path = process.env["DARKROOM_PROPERTY_PATH"];

const connections = 4;
const maxOpenTasks = 40;
const taskTypes: Omit<ModelTaskType, "limit">[] = [
  {
    name: "z_image_turbo",
    runType: "api",
    isOrchestrator: false,
    price: 6500,
    heldSeconds: null,
    reusePrice: 400,
  },
  {
    name: "qwen_image",
    runType: "api",
    isOrchestrator: false,
    price: 39_000,
    heldSeconds: null,
    reusePrice: 0,
  },
  {
    name: "travel_segment",
    runType: "gpu",
    isOrchestrator: false,
    price: 278,
    heldSeconds: 120,
    reusePrice: null,
  },
  {
    name: "travel_orchestrator",
    runType: "gpu",
    isOrchestrator: true,
    price: 278,
    heldSeconds: null,
    reusePrice: null,
  },
];

// ---- What can happen. Numbers name one of those that are there when the step comes.

const index = fc.nat(1000);
const ownModel = fc.constantFrom("", "", "a", "b");
const often = fc.constantFrom(true, true, true, false);
const seldom = fc.constantFrom(true, false, false, false, false, false);

const create = fc.record({
  step: fc.constant("create" as const),
  project: index,
  type: fc.constantFrom(0, 0, 0, 1, 2, 2, 3),
  model: ownModel,
  priority: fc.constantFrom(0, 0, 0, -1, 1),
  dependencies: fc.oneof(
    { weight: 3, arbitrary: fc.constant<number[]>([]) },
    { weight: 2, arbitrary: fc.array(index, { minLength: 1, maxLength: 2 }) },
  ),
  orchestrator: fc.option(index),
  maxAttempts: fc.integer({ min: 1, max: 3 }),
  isEarly: seldom,
  children: fc.integer({ min: 1, max: 2 }),
  copies: fc.constantFrom(1, 1, 1, 3, 6),
  seed: fc.constantFrom(null, 1, 1, 2),
});
const claim = fc.record({
  step: fc.constant("claim" as const),
  worker: index,
  runType: fc.constantFrom(undefined, undefined, undefined, "api" as const, "gpu" as const),
  types: fc.option(
    fc.subarray(
      taskTypes.map(({ name }) => name),
      { minLength: 1 },
    ),
    { freq: 4 },
  ),
  models: fc.option(fc.subarray(["", "a", "b"], { minLength: 1 }), { freq: 4 }),
  sameModelOnly: seldom,
  maxTasks: fc.constantFrom(1, 1, 2, 4),
  tendsFirst: fc.boolean(),
});
/** Says who reports on a run: the one who has it, whoever does not say who they are, or somebody who is wrong. */
const identity = fc.constantFrom("right", "right", "right", "bare", "worker", "attempt", "kind");
const finish = fc.record({
  step: fc.constant("finish" as const),
  task: index,
  ofRunning: often,
  identity,
  byStatus: seldom,
  hasOutput: often,
});
const change = fc.record({
  step: fc.constant("change" as const),
  task: index,
  of: fc.constantFrom("running", "running", "queued", "failed", "any"),
  identity,
  status: fc.constantFrom<Status>("In Progress", "Queued", "Queued", "Failed", "Cancelled"),
  byUser: seldom,
});
const putBack = fc.record({ step: fc.constant("put back" as const), task: index });
const heartbeat = fc.record({
  step: fc.constant("heartbeat" as const),
  worker: index,
  model: fc.constantFrom(undefined, "", "a", "b"),
  crashes: seldom,
});
const expire = fc.record({ step: fc.constant("expire" as const), task: index });
const becomeDue = fc.record({ step: fc.constant("become due" as const), task: index });
const tend = fc.record({ step: fc.constant("tend" as const), isLate: seldom, tidies: seldom });
const choose = fc.record({ step: fc.constant("choose" as const), user: index, cloud: often, local: often });
const limitProject = fc.record({
  step: fc.constant("limit project" as const),
  project: index,
  limit: fc.constantFrom(null, 1, 2),
});
const limitType = fc.record({
  step: fc.constant("limit type" as const),
  type: index,
  limit: fc.constantFrom(null, null, 1, 3),
});
const chooseReuse = fc.record({
  step: fc.constant("choose reuse" as const),
  project: index,
  reuses: often,
});
const loseFile = fc.record({ step: fc.constant("lose file" as const), task: index });
const jumpTurns = fc.record({ step: fc.constant("jump turns" as const) });

const one = fc.oneof(
  { weight: 24, arbitrary: create },
  { weight: 22, arbitrary: claim },
  { weight: 12, arbitrary: finish },
  { weight: 14, arbitrary: change },
  { weight: 2, arbitrary: putBack },
  { weight: 5, arbitrary: heartbeat },
  { weight: 5, arbitrary: expire },
  { weight: 4, arbitrary: becomeDue },
  { weight: 5, arbitrary: tend },
  { weight: 3, arbitrary: choose },
  { weight: 4, arbitrary: limitProject },
  { weight: 3, arbitrary: limitType },
  { weight: 2, arbitrary: chooseReuse },
  { weight: 2, arbitrary: loseFile },
  { weight: 1, arbitrary: jumpTurns },
);
/** Mostly one by one; some at the same moment. */
const steps = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.tuple(one) },
    {
      weight: 1,
      arbitrary: fc.array(
        // Some keep their locks, and what they did to themselves, for a while before they commit.
        fc.tuple(one, fc.boolean()).map(([step, lingers]) => ({ ...step, lingers })),
        { minLength: 2, maxLength: connections },
      ),
    },
  ),
  { minLength: 1, maxLength: 80, size: "max" },
);
type Step = (typeof one extends fc.Arbitrary<infer S> ? S : never) & { lingers?: boolean };

test("random sequences of everything that can happen leave the queue as its model says", (context) =>
  withDatabase(async ({ sql, session }) => {
    context.diagnostic(`seed ${seed}, ${runs} runs`);
    const sessions = await Promise.all(Array.from({ length: connections }, session));
    for (const opened of sessions) await opened.query("set deadlock_timeout = '20ms'");
    await sql`
      select publish_price('z_image_turbo', 'per_unit', 6500, '{}', null, 'test', 'reuse', 'reuse', 400)`;
    const counts = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(steps, async (sequence) => {
        const world = await newWorld(sql, sequence.length % 2 === 0);
        for (const [position, some] of sequence.entries())
          await take(world, sessions, position, some, counts);
        await drain(world);
        const reused = await sql`select from tasks where reused_task_id is not null`;
        counts.set("reused", (counts.get("reused") ?? 0) + reused.length);
      }),
      {
        seed,
        numRuns: runs,
        ...(path !== undefined && { path }),
        // What fails is made shorter until the file has to end.
        ...(runs <= 200 && { interruptAfterTimeLimit: 90_000 }),
      },
    );
    context.diagnostic(
      [...counts]
        .map(([name, count]) => `${name} ${count}`)
        .sort()
        .join(", "),
    );
  }));

interface World {
  sql: Pool;
  /** Whether cascades and releases beyond the first task are left to the outbox, and not beyond twenty. */
  usesOutbox: boolean;
  model: QueueModel;
}

/**
 * An empty queue: two people with much credit and one with little, the first with two projects. All but the second
 * person's reuse results.
 */
async function newWorld(sql: Pool, usesOutbox: boolean): Promise<World> {
  await sql.transaction(async (transaction) => {
    await transaction`set local session_replication_role = replica`;
    await transaction`
      truncate auth.users, users, projects, credit_accounts, credits_ledger, credit_holds, tasks, archived_tasks,
        task_dependencies, task_lanes, task_counts, limit_counts, task_outbox, task_run_times, task_tenants, task_slots, project_slots,
        task_type_slots, user_turns, turn_marks, workers, generations cascade`;
    await transaction`update task_types set max_running_tasks = null where max_running_tasks is not null`;
    await transaction`
      update queue_settings
         set tended_at = 'infinity', max_open_tasks = ${maxOpenTasks}, direct_cascade = ${usesOutbox ? 1 : 20}`;
    await transaction`select setval('task_turns', 1)`;
  });
  const people = [];
  for (const balance of [100_000_000, 100_000_000, 120_000]) {
    const { userId, projectId } = await createUser(sql, balance);
    const user: ModelUser = { id: userId, allowsCloud: true, allowsLocal: true, balance, served: 0 };
    people.push({ user, projects: [projectId] });
  }
  const [first] = people;
  assert.ok(first);
  const [second] = await sql<{ id: string }[]>`
    insert into projects (user_id, name) values (${first.user.id}, 'second') returning id`;
  first.projects.push(second?.id ?? "");
  const users = people.map(({ user }) => user);
  const projects = people.flatMap(({ user, projects: ids }) =>
    ids.map((id): ModelProject => ({ id, user, limit: null, reuses: user !== users[1] })),
  );
  for (const { id, reuses } of projects) {
    await sql`update projects set reuses_results = ${reuses} where id = ${id}`;
  }
  const workers: ModelWorker[] = [undefined, undefined, undefined, ...users].map((owner, number) => ({
    name: `worker-${number}`,
    owner,
    model: null,
  }));
  const model = new QueueModel(
    users,
    projects,
    taskTypes.map((type) => ({ ...type, limit: null })),
    workers,
  );
  model.maxOpenTasks = maxOpenTasks;
  return { sql, usesOutbox, model };
}

/** One call to the database, and what the model makes of its answer. */
interface Call {
  name: string;
  /** What is no part of the call, but sets its scene. */
  prepare?(connection: Session): Promise<unknown>;
  run(connection: Session): Promise<unknown>;
  /** Moves the model, and compares the answer with what it expects. */
  follow(answer: Answer): void;
  /** For calls at the same moment: notes what the model has to know before it adopts their outcome. */
  note?(answer: Answer): void;
}

interface Answer {
  /** The refusal, or `none`. */
  code: string;
  value: unknown;
}

/** What is left to the upkeep: where somebody held it or it was too much. */
async function doLeftWork(sql: Pool): Promise<void> {
  for (;;) {
    const [left] = await sql<{ moved: number }[]>`select settle_followers() + run_task_outbox() as moved`;
    if (left?.moved === 0) return;
  }
}

async function take(
  { sql, model, usesOutbox }: World,
  sessions: Session[],
  position: number,
  some: Step[],
  counts: Map<string, number>,
): Promise<void> {
  const calls = some.flatMap((step) => {
    const call = callOf(step, model);
    return call ? [{ ...call, lingers: step.lingers ?? false }] : [];
  });
  for (const { name } of calls) {
    const key = calls.length > 1 ? `${name} at once` : name;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const before = new Map([...model.tasks.values()].map(({ id, attempt }) => [id, attempt]));
  const answers = await Promise.all(
    calls.map((call, number) =>
      answerOf(call, sessions[(position + number) % sessions.length] as Session, counts),
    ),
  );
  const names = calls.map(({ name }, number) => `${name}: ${answers[number]?.code}`).join(" | ");
  const noted = await sql`select from task_outbox`;
  if (noted.length > 0) {
    counts.set("outbox", (counts.get("outbox") ?? 0) + noted.length);
    assert.deepEqual([...(await brokenPromises(sql))], [], `before the outbox, after ${names}`);
  }
  await doLeftWork(sql);
  const [rows, broken] = await Promise.all([queueRows(sql), brokenPromises(sql)]);
  assert.deepEqual([...broken], [], `after ${names}`);
  if (calls.length === 1) {
    calls[0]?.follow(answers[0] as Answer);
    model.compare(rows, usesOutbox);
    return;
  }
  for (const [number, call] of calls.entries()) call.note?.(answers[number] as Answer);
  model.adopt(rows);
  // Whatever the order was: every claim made an attempt of its own, and nothing else made any.
  const given = answers
    .flatMap(({ value }) => claimsOf(value))
    .map((claimed) => `${claimed.task_id} ${claimed.attempt}`);
  const made = rows.tasks.flatMap(({ id, attempt }) => {
    const first = (before.get(id) ?? 0) + 1;
    return Array.from({ length: attempt - first + 1 }, (_, more) => `${id} ${first + more}`);
  });
  assert.deepEqual(given.sort(), made.sort(), "one worker per attempt");
}

/** Runs a call as the functions do, which run it again after a deadlock. */
async function answerOf(
  call: Call & { lingers: boolean },
  connection: Session,
  counts: Map<string, number>,
): Promise<Answer> {
  await call.prepare?.(connection);
  for (let attempt = 1; ; attempt++) {
    try {
      if (!call.lingers) return { code: "none", value: await call.run(connection) };
      await connection.query("begin");
      const value = await call.run(connection);
      await connection.query("select pg_sleep(0.01)");
      await connection.query("commit");
      return { code: "none", value };
    } catch (error) {
      if (call.lingers) await connection.query("rollback");
      const refused = refusal(error);
      if (refused instanceof AppError && refused.code !== "database_unavailable")
        return { code: refused.code, value: null };
      if (attempt < 4 && (error as { code?: unknown }).code === "40P01") {
        const key = `deadlock of ${call.name}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
        continue;
      }
      throw new Error(call.name, { cause: error });
    }
  }
}

function claimsOf(value: unknown): Claimed[] {
  if (typeof value !== "object" || value === null) return [];
  if ("tasks" in value) return value.tasks as Claimed[];
  return "params" in value ? [value as Claimed] : [];
}

function pick<Item>(items: Item[], number: number): Item | undefined {
  return items[number % items.length];
}

/** What a step means in this queue; undefined when there is nothing that it could be about. */
function callOf(step: Step, model: QueueModel): Call | undefined {
  switch (step.step) {
    case "create":
      return createCall(step, model);
    case "claim":
      return claimCall(step, model);
    case "finish":
      return finishCall(step, model);
    case "change":
      return changeCall(step, model);
    case "put back": {
      const task = pick(model.byStatus("In Progress"), step.task);
      if (!task) return undefined;
      const { id, attempt } = task;
      return {
        name: "put back",
        run: (on) => on.query("select unclaim_task(null, $1, $2)", [id, attempt]),
        follow: () => model.putBack(task),
      };
    }
    case "heartbeat":
      return heartbeatCall(step, model);
    case "expire": {
      const task = pick(model.byStatus("In Progress"), step.task);
      if (!task) return undefined;
      const seconds = ++expiries;
      return {
        name: "expire",
        run: (on) =>
          on.query(
            `update tasks set lease_expires_at = timestamptz '2000-01-01' + make_interval(secs => $2)
              where id = $1 and status = 'In Progress'`,
            [task.id, seconds],
          ),
        follow: () => (task.expired = seconds),
      };
    }
    case "become due": {
      const task = pick(
        [...model.tasks.values()].filter(({ isEarly }) => isEarly),
        step.task,
      );
      if (!task) return undefined;
      return {
        name: "become due",
        run: (on) =>
          on.query("update tasks set run_after = now() - interval '1 second' where id = $1", [task.id]),
        follow: () => (task.isEarly = false),
      };
    }
    case "tend":
      return {
        name: "tend",
        async run(on) {
          await on.query("update queue_settings set affinity_max_wait = $1", [
            step.isLate ? "0" : "5 minutes",
          ]);
          if (step.tidies) await on.query("select tidy_counts()");
          await on.query("select tend_queue()");
        },
        follow: () => void model.releaseDue(),
      };
    case "choose": {
      const user = pick(model.users, step.user) as ModelUser;
      return {
        name: "choose",
        run: (on) =>
          on.query("update users set settings = $2::jsonb where id = $1", [
            user.id,
            json({ ui: { generationMethods: { inCloud: step.cloud, onComputer: step.local } } }),
          ]),
        follow: () => Object.assign(user, { allowsCloud: step.cloud, allowsLocal: step.local }),
      };
    }
    case "limit project": {
      const project = pick(model.projects, step.project) as ModelProject;
      return {
        name: "limit project",
        run: (on) =>
          on.query("update projects set max_running_tasks = $2 where id = $1", [project.id, step.limit]),
        follow: () => (project.limit = step.limit),
      };
    }
    case "limit type": {
      const type = pick(model.types, step.type) as ModelTaskType;
      return {
        name: "limit type",
        run: (on) =>
          on.query("update task_types set max_running_tasks = $2 where name = $1", [type.name, step.limit]),
        follow: () => (type.limit = step.limit),
      };
    }
    case "choose reuse": {
      const project = pick(model.projects, step.project) as ModelProject;
      return {
        name: "choose reuse",
        run: (on) =>
          on.query("update projects set reuses_results = $2 where id = $1", [project.id, step.reuses]),
        follow: () => (project.reuses = step.reuses),
      };
    }
    case "lose file": {
      const task = pick(
        [...model.tasks.values()].filter(({ isResult }) => isResult),
        step.task,
      );
      if (!task) return undefined;
      return {
        name: "lose file",
        run: (on) => on.query("delete from storage.objects where name like $1", [`%/tasks/${task.id}/%`]),
        follow: () => (task.isResult = false),
      };
    }
    case "jump turns":
      return {
        name: "jump turns",
        async run(on) {
          await on.query("update turn_marks set created_at = created_at - interval '2 seconds'");
          await on.query("select setval('task_turns', (nextval('task_turns') / 16 + 40) * 16 - 1)");
        },
        follow: () => undefined,
      };
  }
}

let expiries = 0;

function createCall(step: Extract<Step, { step: "create" }>, model: QueueModel): Call {
  const project = pick(model.projects, step.project) as ModelProject;
  const type = model.types[step.type] as ModelTaskType;
  const siblings = [...model.tasks.values()].filter((task) => task.project === project);
  const openSiblings = siblings.filter((task) => !isOver(task)).slice(0, 3);
  const orchestrators = siblings.filter((task) => task.type.isOrchestrator);
  const open = orchestrators.filter((task) => !isOver(task));
  const request: NewTask = {
    project,
    type,
    model: step.model,
    priority: step.priority,
    dependencies: [
      ...new Set(
        step.dependencies
          // Every other one is a task that is open, for of the others most have ended.
          .map(
            (number) =>
              (number % 2 === 0 ? pick(openSiblings, number / 2) : undefined) ?? pick(siblings, number),
          )
          .filter((task) => task !== undefined),
      ),
    ],
    orchestrator:
      step.orchestrator === null || type.isOrchestrator
        ? undefined
        : pick(open.length > 0 && step.orchestrator % 5 > 0 ? open : orchestrators, step.orchestrator),
    maxAttempts: step.maxAttempts,
    isEarly: step.isEarly,
    children: step.children,
    seed: step.seed,
  };
  const ids = Array.from({ length: step.copies }, () => randomUUID());
  const bodies = ids.map((id) => ({
    task_id: id,
    task_type: type.name,
    project_id: project.id,
    params: {
      prompt: "a fox",
      ...(step.seed !== null && { seed: step.seed }),
      ...(step.model && { model: step.model }),
      // With a stitch to come, an orchestrator does not end by itself when its segments are done.
      ...(type.isOrchestrator && {
        orchestrator_details: { num_new_segments_to_generate: step.children, independent_segments: false },
      }),
      ...(request.orchestrator && { orchestrator_task_id_ref: request.orchestrator.id }),
    },
    priority: step.priority,
    max_attempts: step.maxAttempts,
    dependant_on: request.dependencies.map((task) => task.id),
    ...(step.isEarly && { run_after: new Date(Date.now() + 86_400_000).toISOString() }),
  }));
  return {
    name: `create ${type.name}`,
    run: (on) => on.query("select create_task(null, $1::jsonb, $2)", [json(bodies), step.copies > 1]),
    follow: ({ code }) => assert.equal(code, model.create(ids, request)),
    note({ code }) {
      if (code === "none") for (const id of ids) model.add(id, request);
    },
  };
}

function claimCall(step: Extract<Step, { step: "claim" }>, model: QueueModel): Call {
  const worker = pick(model.workers, step.worker % 2 ? step.worker % 3 : step.worker) as ModelWorker;
  const options = {
    worker,
    runType: step.runType,
    taskTypes: step.types ?? undefined,
    models: step.models ?? undefined,
    sameModelOnly: step.sameModelOnly,
    maxTasks: step.maxTasks,
  };
  return {
    name: "claim",
    async prepare(on) {
      await on.query("update queue_settings set tended_at = $1::text::timestamptz", [
        step.tendsFirst ? "-infinity" : "infinity",
      ]);
    },
    async run(on) {
      const { rows } = await on.query<{ claimed: unknown }>(
        `select claim_next_task(for_user => $1, for_worker => $2, for_run_type => $3, only_task_types => $4,
                                only_models => $5, same_model_only => $6, max_tasks => $7) as claimed`,
        [
          worker.owner?.id ?? null,
          worker.name,
          step.runType ?? null,
          step.types,
          step.models,
          step.sameModelOnly,
          step.maxTasks,
        ],
      );
      return rows[0]?.claimed;
    },
    follow({ value }) {
      if (step.tendsFirst) model.releaseDue();
      model.claim(options, claimsOf(value));
    },
  };
}

/** What a caller says of themselves; a wrong one is wrong in exactly one way. */
function callerOf(task: ModelTask, who: string): Caller {
  const byOwner = (task.byOwner ?? false) !== (who === "kind");
  const names = who !== "bare" && task.worker !== null;
  return {
    byOwner,
    ...(byOwner && { forUser: task.project.user.id }),
    ...(names && {
      worker: who === "worker" ? "somebody else" : (task.worker as string),
      attempt: who === "attempt" ? task.attempt + 1 : task.attempt,
    }),
  };
}

interface Caller {
  byOwner: boolean;
  forUser?: string;
  worker?: string;
  attempt?: number;
}

function finishCall(step: Extract<Step, { step: "finish" }>, model: QueueModel): Call | undefined {
  const task = pick(step.ofRunning ? model.byStatus("In Progress") : [...model.tasks.values()], step.task);
  if (!task) return undefined;
  const caller = callerOf(task, step.identity);
  if (!step.byStatus) {
    return {
      name: "complete",
      run: (on) => complete(on, task.id, caller),
      follow: ({ code }) => assert.equal(code, model.complete(task, caller)),
    };
  }
  return statusCall(
    model,
    task,
    caller,
    "Complete",
    caller.byOwner ? "personal-access-token" : "service",
    step.hasOutput,
  );
}

function changeCall(step: Extract<Step, { step: "change" }>, model: QueueModel): Call | undefined {
  const candidates = {
    running: model.byStatus("In Progress"),
    queued: model.byStatus("Queued"),
    failed: model.byStatus("Failed"),
    any: [...model.tasks.values()],
  };
  const task = pick(candidates[step.of], step.task);
  if (!task) return undefined;
  const caller = callerOf(task, step.identity);
  const kind = step.byUser ? "user" : caller.byOwner ? "personal-access-token" : "service";
  return statusCall(model, task, caller, step.status, kind, false);
}

function statusCall(
  model: QueueModel,
  task: ModelTask,
  { worker, attempt }: { worker?: string | undefined; attempt?: number | undefined },
  status: Status,
  kind: "service" | "personal-access-token" | "user",
  hasOutput: boolean,
): Call {
  const changes = {
    ...(status === "In Progress" && { progress: 0.5 }),
    ...(hasOutput && { output_location: "https://media.example/output.png" }),
  };
  return {
    name: `${task.status} to ${status}`,
    run: (on) =>
      on.query("select update_task_status($1, $2, $3, $4::task_status, $5, $6, $7)", [
        kind === "service" ? null : task.project.user.id,
        kind,
        task.id,
        status,
        worker ?? null,
        attempt ?? null,
        json(changes),
      ]),
    follow: ({ code }) =>
      assert.equal(code, model.setStatus(task, { status, kind }, { worker, attempt, hasOutput })),
  };
}

function heartbeatCall(step: Extract<Step, { step: "heartbeat" }>, model: QueueModel): Call {
  const worker = pick(model.workers, step.worker) as ModelWorker;
  const report = {
    status: step.crashes ? "crashed" : "active",
    ...(step.model !== undefined && { current_model: step.model }),
  };
  return {
    name: step.crashes ? "crash" : "heartbeat",
    run: (on) =>
      on.query("select worker_heartbeat($1, $2, $3)", [worker.owner?.id ?? null, worker.name, json(report)]),
    follow() {
      if (step.model !== undefined) worker.model = step.model === "" ? null : step.model;
      if (step.crashes) model.crash(worker);
      else model.heartbeat(worker);
    },
  };
}

/** Lets everybody do what is left: then every task ends, and nothing stays behind. */
async function drain({ sql, model }: World): Promise<void> {
  await sql`update task_types set max_running_tasks = null where max_running_tasks is not null`;
  await sql`update projects set max_running_tasks = null where max_running_tasks is not null`;
  await sql`update users set settings = '{}'`;
  await sql`update tasks set run_after = now() - interval '1 second' where is_scheduled`;
  await sql`update workers set current_model = null`;
  await sql`select tend_queue()`;
  for (let round = 0, emptyRounds = 0; ; round++) {
    assert.ok(round < 200, "the queue does not empty");
    await sql`select tend_queue()`;
    await doLeftWork(sql);
    for (const { name, owner } of model.workers.slice(2)) {
      await sql`select claim_next_task(for_user => ${owner?.id ?? null}, for_worker => ${name}, max_tasks => 50)`;
    }
    const running = await sql<{ id: string; user_id: string; by_owner: boolean; is_orchestrator: boolean }[]>`
      select id, user_id, claimed_by_owner as by_owner, is_orchestrator from tasks where status = 'In Progress'`;
    emptyRounds = running.length === 0 ? emptyRounds + 1 : 0;
    // A claim that ends a part of an ended orchestration leaves its lane to the next claim.
    if (emptyRounds === 2) break;
    const children = running.filter((task) => !task.is_orchestrator);
    for (const task of children.length > 0 ? children : running.slice(0, 1)) {
      await complete(sql, task.id, task.by_owner ? { forUser: task.user_id } : {});
    }
  }
  assert.deepEqual([...(await brokenPromises(sql))], []);
  assert.deepEqual([...(await leftovers(sql))], []);
}
