import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { test } from "node:test";
import { DatabaseError } from "../../supabase/functions/_shared/database/connection-error.ts";
import type { Pool, ReservedSql } from "../../supabase/functions/_shared/database/pool.ts";
import { type Role, withDatabase } from "../support/database.ts";
import { claim, complete, createUser, queueTask, type TestUser } from "../support/factories.ts";
import { createWebhook } from "../support/webhooks.ts";
import { assertNone } from "./assert-none.ts";

/**
 * `rows`: done · `none`: done to no row, as if there were none · `denied`: refused (SQLSTATE 42501).
 * In the order select, insert, update, delete.
 */
type Outcome = "rows" | "none" | "denied";
type Outcomes = readonly [Outcome, Outcome, Outcome, Outcome];
const operations = ["select", "insert", "update", "delete"] as const;

const all: Outcomes = ["rows", "rows", "rows", "rows"];
const nothing: Outcomes = ["denied", "denied", "denied", "denied"];
const reads: Outcomes = ["rows", "denied", "denied", "denied"];
const seesNone: Outcomes = ["none", "denied", "denied", "denied"];

interface Rule {
  anon: Outcomes;
  owner: Outcomes;
  /** Another user, who is signed in, of the owner's row. */
  stranger: Outcomes;
  service: Outcomes;
  /** Condition that holds for the owner's rows alone. */
  row: (owner: Owner) => string;
  /** `(columns) values (…)` of a row that would be the owner's. Left out where nobody may insert. */
  insert?: (owner: Owner) => string;
  /** A change that whoever may change anything may make. Left out where nobody may. */
  update?: string;
}

interface Owner extends TestUser {
  taskId: string;
  webhookId: string;
  generationId: string;
  shotId: string;
}

const spareUserId = randomUUID();

const ofUser = ({ userId }: Owner) => `user_id = '${userId}'`;
const ofProject = ({ projectId }: Owner) => `project_id = '${projectId}'`;
const ofWebhook = (owner: Owner) => `endpoint_id = '${owner.webhookId}'`;
const anyRow = () => "true";

/** Every table and view of public. A new one needs a line here, and somebody who thought about it. */
// prettier-ignore
const matrix: Record<string, Rule> = {
  // People and projects
  users:     { anon: nothing, owner: ["rows", "denied", "rows", "denied"], stranger: ["none", "denied", "none", "denied"], service: all,
               row: ({ userId }) => `id = '${userId}'`, update: "name = 'changed'",
               insert: () => `(id) values ('${spareUserId}')` },
  projects:  { anon: nothing, owner: all, stranger: ["none", "denied", "none", "none"], service: all,
               row: projectWithId, update: "name = 'changed'",
               insert: ({ userId }) => `(user_id, name) values ('${userId}', 'another')` },

  // Tasks change by functions; what clients write themselves is turned into the same by triggers
  tasks:             { anon: seesNone, owner: ["rows", "rows", "rows", "denied"], stranger: ["none", "denied", "none", "denied"], service: all,
                       row: ({ taskId }) => `id = '${taskId}'`, update: "status = 'Cancelled'",
                       insert: ({ projectId }) => `(project_id, task_type, params) values ('${projectId}', 'z_image_turbo', '{}')` },
  archived_tasks:    { anon: nothing, owner: reads, stranger: seesNone, service: reads, row: ofUser },
  all_tasks:         { anon: nothing, owner: reads, stranger: seesNone, service: reads, row: ofUser },
  task_types:        { anon: reads, owner: reads, stranger: reads, service: ["rows", "denied", "rows", "denied"], row: anyRow,
                       update: "max_running_tasks = null" },
  task_counts:       { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: anyRow },
  known_models:      { anon: nothing, owner: nothing, stranger: nothing, service: all, row: anyRow,
                       update: "model = model", insert: () => "(model) values ('another')" },
  limit_counts:      { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: anyRow },
  task_outbox:       { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: ofUser },
  task_run_times:    { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: anyRow },
  task_dependencies: { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: anyRow },
  task_lanes:        { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: ofUser },
  project_slots:     { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: ofProject },
  task_type_slots:   { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: anyRow },
  user_turns:        { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: ofUser },
  turn_marks:        { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: anyRow },
  provider_jobs:     { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: ({ taskId }) => `task_id = '${taskId}'` },
  provider_runners: { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: anyRow },
  provider_withdrawals: { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: ofUser },
  // The operator's business: not even the task's owner reads what it cost
  provider_calls:    { anon: nothing, owner: nothing, stranger: nothing, service: reads, row: ({ taskId }) => `task_id = '${taskId}'` },
  task_provider_costs: { anon: nothing, owner: nothing, stranger: nothing, service: reads, row: ofUser },
  // The operator lets a user go on.
  unpaid_provider_costs: { anon: nothing, owner: nothing, stranger: nothing, service: ["rows", "denied", "denied", "rows"], row: ofUser },
  provider_margins:  { anon: nothing, owner: nothing, stranger: nothing, service: reads, row: anyRow },
  provider_models:   { anon: nothing, owner: nothing, stranger: nothing, service: all, row: anyRow,
                       update: "units = units", insert: () => "(task_type, provider, model, billed, units) values ('wgp', 'fal', 'fal-ai/another', '{}', '{}')" },
  results_to_share:  { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: ofUser },
  task_requests:     { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: ofUser },
  run_reports:       { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: ({ taskId }) => `task_id = '${taskId}'` },
  task_slots:        { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: ofUser },
  task_tenants:      { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: ofUser },
  queue_settings:    { anon: nothing, owner: nothing, stranger: nothing, service: ["rows", "denied", "rows", "denied"], row: anyRow,
                       update: "affinity_max_wait = '1 minute'" },

  // Money moves by functions alone, for the service too
  credit_accounts:  { anon: nothing, owner: reads, stranger: seesNone, service: reads, row: ofUser },
  user_credit_balance: { anon: nothing, owner: reads, stranger: seesNone, service: reads, row: ofUser },
  credit_grants:    { anon: nothing, owner: reads, stranger: seesNone, service: reads, row: ofUser },
  credit_grant_draws: { anon: nothing, owner: reads, stranger: seesNone, service: reads,
                        row: ({ userId }) => `grant_id in (select id from credit_grants where user_id = '${userId}')` },
  spend_caps:       { anon: nothing, owner: reads, stranger: seesNone, service: reads, row: ofUser },
  task_quotes:      { anon: nothing, owner: reads, stranger: seesNone, service: reads, row: ofUser },
  promo_codes:      { anon: nothing, owner: nothing, stranger: nothing, service: reads, row: anyRow },
  promo_redemptions: { anon: nothing, owner: reads, stranger: seesNone, service: reads, row: ofUser },
  welcome_bonuses:  { anon: nothing, owner: nothing, stranger: nothing, service: reads, row: ofUser },
  credit_settings:  { anon: nothing, owner: nothing, stranger: nothing, service: ["rows", "denied", "rows", "denied"], row: anyRow,
                      update: "welcome_bonus_microusd = 1" },
  credit_holds:     { anon: nothing, owner: reads, stranger: seesNone, service: reads, row: ofUser },
  free_calls:       { anon: nothing, owner: reads, stranger: seesNone, service: reads, row: ofUser },
  paid_calls:       { anon: nothing, owner: reads, stranger: seesNone, service: reads, row: ofUser },
  credits_ledger:   { anon: nothing, owner: reads, stranger: seesNone, service: reads, row: ofUser },
  task_type_prices: { anon: reads, owner: reads, stranger: reads, service: reads, row: anyRow },
  provider_prices:  { anon: nothing, owner: nothing, stranger: nothing, service: reads, row: anyRow },

  // What tasks made
  generations:         { anon: nothing, owner: all, stranger: ["none", "denied", "none", "none"], service: all,
                         row: ofProject, update: "name = 'changed'",
                         insert: ({ projectId }) => `(project_id, location) values ('${projectId}', 'https://media.example/a.png')` },
  generation_variants: { anon: nothing, owner: all, stranger: ["none", "denied", "none", "none"], service: all,
                         row: ofProject, update: "name = 'changed'",
                         insert: ({ generationId }) => `(generation_id, location, variant_type)
                           values ('${generationId}', 'https://media.example/b.png', 'edit')` },
  shots:               { anon: nothing, owner: all, stranger: ["none", "denied", "none", "none"], service: all,
                         row: ofProject, update: "name = 'changed'",
                         insert: ({ projectId }) => `(project_id) values ('${projectId}')` },
  shot_generations:    { anon: nothing, owner: all, stranger: ["none", "denied", "none", "none"], service: all,
                         row: ({ shotId }) => `shot_id = '${shotId}'`, update: "timeline_frame = 7",
                         insert: ({ shotId, generationId }) => `(shot_id, generation_id) values ('${shotId}', '${generationId}')` },

  // Payments: by functions alone; browsers read the columns of users
  stripe_customers:    { anon: nothing, owner: nothing, stranger: nothing, service: reads, row: ofUser },
  checkout_sessions:   { anon: nothing, owner: nothing, stranger: nothing, service: reads, row: ofUser },
  stripe_events:       { anon: nothing, owner: nothing, stranger: nothing, service: reads, row: ({ userId }) => `id = 'evt_${userId}'` },
  payments:            { anon: nothing, owner: reads, stranger: seesNone, service: reads, row: ofUser },
  payment_refunds:     { anon: nothing, owner: nothing, stranger: nothing, service: reads, row: ({ userId }) => `id = 're_${userId}'` },
  payment_disputes:    { anon: nothing, owner: nothing, stranger: nothing, service: reads, row: ({ userId }) => `id = 'dp_${userId}'` },
  billing_alerts:      { anon: nothing, owner: nothing, stranger: nothing, service: reads, row: anyRow },
  auto_topup_requests: { anon: nothing, owner: nothing, stranger: nothing, service: reads, row: ofUser },

  // Where events are sent; what they are signed with is nobody's to read
  webhook_endpoints:  { anon: nothing, owner: reads, stranger: seesNone, service: reads, row: ofUser },
  webhook_secrets:    { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: ofWebhook },
  webhook_deliveries: { anon: nothing, owner: nothing, stranger: nothing, service: reads, row: ofWebhook },
  webhook_attempts:   { anon: nothing, owner: nothing, stranger: nothing, service: reads,
                        row: (owner) => `delivery_id in (select id from webhook_deliveries where ${ofWebhook(owner)})` },

  // Files of runs: their paths are secret until they are delivered
  output_files: { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: ({ taskId }) => `task_id = '${taskId}'` },

  // Machines, credentials, counters
  workers:                { anon: nothing, owner: reads, stranger: seesNone, service: all, row: ofUser,
                            update: "current_model = 'changed'",
                            insert: ({ userId }) => `(id, user_id) values ('${userId}:another', '${userId}')` },
  system_logs:            { anon: nothing, owner: nothing, stranger: nothing, service: ["rows", "rows", "denied", "rows"], row: ofUser,
                            insert: ({ userId }) => `(message, user_id) values ('another', '${userId}')` },
  personal_access_tokens: { anon: nothing, owner: reads, stranger: seesNone, service: reads, row: ofUser },
  rate_limits:            { anon: nothing, owner: nothing, stranger: nothing, service: nothing, row: ({ userId }) => `key like '%${userId}'` },
};

/** Columns that a browser may write. Whatever else it names is refused, whoever's the row is. */
// prettier-ignore
const writable: Record<string, string[]> = {
  "insert projects": ["aspect_ratio", "id", "max_running_tasks", "name", "reuses_results", "settings", "user_id"],
  "insert tasks": ["created_at", "dependant_on", "id", "params", "priority", "project_id", "status", "task_type"],
  "update tasks": ["status", "updated_at"],
  "update projects": ["aspect_ratio", "max_running_tasks", "name", "reuses_results", "settings"],
  "update users": ["avatar_url", "low_balance_threshold", "name", "onboarding", "settings", "username"],
  "insert generations": [
    "based_on", "child_order", "id", "is_child", "location", "name", "pair_shot_generation_id", "params",
    "parent_generation_id", "project_id", "starred", "thumbnail_url", "type",
  ],
  "update generations": [
    "based_on", "child_order", "is_child", "location", "name", "pair_shot_generation_id", "params",
    "parent_generation_id", "starred", "thumbnail_url", "type",
  ],
  "insert generation_variants": [
    "generation_id", "id", "is_primary", "location", "name", "params", "thumbnail_url", "variant_type", "viewed_at",
  ],
  "update generation_variants": ["is_primary", "location", "name", "params", "thumbnail_url", "variant_type", "viewed_at"],
  "insert shots": ["aspect_ratio", "id", "name", "position", "project_id", "settings"],
  "update shots": ["aspect_ratio", "name", "position", "settings"],
  "insert shot_generations": ["generation_id", "id", "metadata", "shot_id", "timeline_frame"],
  "update shot_generations": ["metadata", "timeline_frame"],
};

/** Columns of readable tables that stay on the server. */
const unreadable = ["personal_access_tokens.token_hash"];

test("every table of public has row level security, and every view asks the policies of its reader", () =>
  withDatabase(async ({ sql }) => {
    const relations = await relationsOfPublic(sql);
    assertNone(
      relations.filter(({ kind, is_secured }) => kind === "table" && !is_secured).map(({ name }) => name),
      "alter table … enable row level security:",
    );
    assertNone(
      relations.filter(({ kind, is_secured }) => kind === "view" && !is_secured).map(({ name }) => name),
      "create view … with (security_invoker = true):",
    );
    assertNone(
      relations.filter(({ kind }) => kind === "materialized view").map(({ name }) => name),
      "A materialized view has no policies; keep it in another schema:",
    );
    assertNone(
      relations.filter(({ name }) => !(name in matrix)).map(({ name }) => name),
      "Not in the matrix of this test; say there who may do what:",
    );
    assertNone(
      Object.keys(matrix).filter((name) => !relations.some((relation) => relation.name === name)),
      "In the matrix of this test and not in the database:",
    );
  }));

test("the matrix: each caller does to each table what it says, tried on real rows", () =>
  withDatabase(async ({ sql }) => {
    const owner = await userWithEverything(sql);
    const stranger = await userWithEverything(sql);
    // An account whose row in users is missing, as those have that are older than the trigger on sign-up.
    await sql`insert into auth.users (id, is_anonymous) values (${spareUserId}, true)`;
    await sql`delete from users where id = ${spareUserId}`;

    const changes = await harmlessChanges(sql);
    const faults: string[] = [];
    for (const [table, rule] of Object.entries(matrix)) {
      const rows = await sql.query(`select from ${table} where ${rule.row(owner)}`);
      if (rows.length === 0) faults.push(`${table}: the fixtures make no row of the owner`);
      for (const [caller, role, userId] of [
        ["anon", "anon", undefined],
        ["owner", "authenticated", owner.userId],
        ["stranger", "authenticated", stranger.userId],
        ["service", "service_role", undefined],
      ] as const) {
        for (const [index, operation] of operations.entries()) {
          const expected = rule[caller][index];
          const change = rule.update ?? changes.get(table) ?? "";
          const statement = statementOf(operation, { table, rule, owner, change });
          const found = await tried(sql, { role, userId }, statement);
          if (found !== expected) {
            faults.push(`${table}: ${caller} ${operation}: ${found}, and the matrix says ${expected}`);
          }
        }
      }
    }
    assertNone(faults, "Change the policies and grants, or the matrix:");
  }));

test("another user changes and deletes nothing of a person's, whatever the statement asks for", () =>
  withDatabase(async ({ sql }) => {
    const owner = await userWithEverything(sql);
    const stranger = await userWithEverything(sql);
    const changes = await harmlessChanges(sql);
    const faults: string[] = [];
    for (const [table, rule] of Object.entries(matrix)) {
      const before = await rowsOf(sql, table, rule.row(owner));
      for (const statement of [
        `update ${table} set ${rule.update ?? changes.get(table)}`,
        `delete from ${table}`,
      ]) {
        for (const user of [{ role: "anon" }, { role: "authenticated", userId: stranger.userId }] as const) {
          const after = await asRequester(sql, user, async (connection) => {
            await outcomeOf(connection, statement);
            await connection`reset role`;
            return await rowsOf(connection, table, rule.row(owner));
          });
          if (after !== before) faults.push(`${user.role}: ${statement}`);
        }
      }
    }
    assertNone(faults, "These statements reach rows of somebody else:");
  }));

test("browsers write the columns that were granted by name and no other", () =>
  withDatabase(async ({ sql }) => {
    const granted = await sql<{ operation: string; role: string; columns: string[] }[]>`
      select lower(privilege_type) || ' ' || table_name as operation, grantee as role,
             array_agg(column_name::text order by column_name) as columns
        from information_schema.column_privileges
       where table_schema = 'public' and grantee in ('anon', 'authenticated', 'PUBLIC')
         and privilege_type in ('INSERT', 'UPDATE')
       group by 1, 2`;
    assert.deepEqual(
      granted.filter(({ role }) => role !== "authenticated"),
      [],
    );
    assert.deepEqual(
      Object.fromEntries(granted.map(({ operation, columns }) => [operation, columns])),
      writable,
    );
    const sequences = await sql<{ name: string }[]>`
      select role || ' ' || class.relname as name
        from pg_class as class, unnest(array['anon', 'authenticated']) as role
       where class.relkind = 'S' and class.relnamespace = 'public'::regnamespace
         and has_sequence_privilege(role, class.oid, 'USAGE, SELECT, UPDATE')`;
    assertNone(
      sequences.map(({ name }) => name),
      "These sequences can be used by browsers:",
    );
  }));

test("mass assignment: an owner cannot write what the server decides, nor give rows away", () =>
  withDatabase(async ({ sql }) => {
    const owner = await userWithEverything(sql);
    const stranger = await userWithEverything(sql);
    const { userId, projectId, taskId } = owner;
    const attempts = [
      `update users set credits = 1000000 where id = '${userId}'`,
      `update users set given_credits = false where id = '${userId}'`,
      `update users set name = 'me', credits = 1000000 where id = '${userId}'`,
      `update users set id = '${stranger.userId}' where id = '${userId}'`,
      `update users set email = 'other@example.com' where id = '${userId}'`,
      `insert into users (id, credits) values ('${userId}', 5) on conflict (id) do update set credits = 1000000`,
      `update tasks set status = 'Complete' where id = '${taskId}'`,
      `update tasks set cost_microusd = 0 where id = '${taskId}'`,
      `update tasks set user_id = '${stranger.userId}' where id = '${taskId}'`,
      `update tasks set priority = 100 where id = '${taskId}'`,
      `insert into tasks (project_id, user_id, task_type, params) values ('${projectId}', '${userId}', 'z_image_turbo', '{}')`,
      `update projects set user_id = '${stranger.userId}' where id = '${projectId}'`,
      `update projects set id = gen_random_uuid() where id = '${projectId}'`,
      `insert into projects (user_id, name) values ('${stranger.userId}', 'a present')`,
      `insert into projects (user_id, name, created_at) values ('${userId}', 'old', 'epoch')`,
      `insert into projects (id, user_id, name) values ('${stranger.projectId}', '${stranger.userId}', 'mine')
       on conflict (id) do update set name = 'mine'`,
      `update credit_accounts set balance_microusd = 1000000000 where user_id = '${userId}'`,
      `update credit_holds set state = 'released', closed_at = now() where user_id = '${userId}'`,
      `insert into credits_ledger (user_id, type, amount_microusd, balance_after_microusd) values ('${userId}', 'manual', 1, 1)`,
      `update generations set project_id = '${stranger.projectId}' where project_id = '${projectId}'`,
      `update generations set source_task_id = '${taskId}' where project_id = '${projectId}'`,
      `update generation_variants set generation_id = (select id from generations limit 1)`,
      `update personal_access_tokens set scopes = '{tasks:run}', expires_at = null where user_id = '${userId}'`,
      `update workers set user_id = null where user_id = '${userId}'`,
      `update webhook_endpoints set url = 'https://elsewhere.example/' where user_id = '${userId}'`,
      `select secret from webhook_secrets`,
      `select public.claim_webhook_deliveries()`,
      `truncate tasks cascade`,
      ...unreadable.map((column) => {
        const [table = "", name = ""] = column.split(".");
        return `select ${name} from ${table} where user_id = '${userId}'`;
      }),
    ];
    const faults: string[] = [];
    for (const statement of attempts) {
      const outcome = await tried(sql, { role: "authenticated", userId }, statement);
      if (outcome !== "denied") faults.push(`${statement}: ${outcome}`);
    }
    assertNone(faults, "An owner may do what must be refused:");

    // The same ways do what is theirs: the refusals above are not for a broken statement.
    for (const statement of [
      `update users set name = 'me', settings = '{}' where id = '${userId}'`,
      `update projects set name = 'renamed' where id = '${projectId}'`,
      `insert into projects (id, user_id, name) values (gen_random_uuid(), '${userId}', 'mine')`,
      `update generations set starred = true where project_id = '${projectId}'`,
      `select last_four from personal_access_tokens where user_id = '${userId}'`,
    ]) {
      assert.equal(await tried(sql, { role: "authenticated", userId }, statement), "rows", statement);
    }
  }));

interface Requester {
  role: Role;
  userId?: string | undefined;
}

function statementOf(
  operation: (typeof operations)[number],
  { table, rule, owner, change }: { table: string; rule: Rule; owner: Owner; change: string },
): string {
  const condition = rule.row(owner);
  switch (operation) {
    case "select":
      return `select 1 from ${table} where ${condition}`;
    case "insert":
      // Permission is asked before the defaults are found to be no row.
      return `insert into ${table} ${rule.insert?.(owner) ?? "default values"}`;
    case "update":
      return `update ${table} set ${change} where ${condition}`;
    case "delete":
      return `delete from ${table} where ${condition}`;
  }
}

/** What a statement does for somebody; then it is undone. */
async function tried(sql: Pool, requester: Requester, statement: string): Promise<string> {
  return await asRequester(sql, requester, (connection) => outcomeOf(connection, statement));
}

/** In a transaction with role and claims as `/rest/v1` sets them, which is rolled back. */
async function asRequester<Result>(
  sql: Pool,
  { role, userId }: Requester,
  work: (connection: ReservedSql) => Promise<Result>,
): Promise<Result> {
  const connection = await sql.reserve();
  try {
    await connection`begin`;
    try {
      const claims = JSON.stringify({ role, ...(userId !== undefined && { sub: userId }) });
      await connection`select set_config('request.jwt.claims', ${claims}, true), set_config('role', ${role}, true)`;
      return await work(connection);
    } finally {
      await connection`rollback`;
    }
  } finally {
    connection.release();
  }
}

async function outcomeOf(connection: ReservedSql, statement: string): Promise<string> {
  await connection`savepoint before`;
  try {
    return (await connection.query(statement)).count > 0 ? "rows" : "none";
  } catch (error) {
    await connection`rollback to before`;
    if (!(error instanceof DatabaseError)) throw error;
    // 55000: a view over several tables, through which nobody writes. PT4..: our own refusals.
    return error.code === "42501" || error.code === "55000" || error.code?.startsWith("PT4")
      ? "denied"
      : `failed with ${error.code} ${error.message}`;
  }
}

async function rowsOf(sql: Pool | ReservedSql, table: string, condition: string): Promise<string> {
  const [row] = await sql.query<{ rows: string }[]>(
    `select coalesce(string_agg(entry::text, E'\n' order by entry::text), '') as rows from ${table} as entry where ${condition}`,
  );
  return row?.rows ?? "";
}

/** For each table a change that changes nothing, for where the matrix names none. */
async function harmlessChanges(sql: Pool): Promise<Map<string, string>> {
  const columns = await sql<{ table: string; column: string }[]>`
    select distinct on (table_name) table_name as table, quote_ident(column_name) as column
      from information_schema.columns
     where table_schema = 'public' and is_generated = 'NEVER' and is_identity = 'NO'
     order by table_name, ordinal_position`;
  return new Map(columns.map(({ table, column }) => [table, `${column} = ${column}`]));
}

interface Relation {
  name: string;
  kind: "table" | "view" | "materialized view";
  is_secured: boolean;
}

async function relationsOfPublic(sql: Pool): Promise<Relation[]> {
  return await sql<Relation[]>`
    select relname as name,
           case relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end as kind,
           case relkind
             when 'v' then coalesce('security_invoker=true' = any (reloptions), false)
             else relrowsecurity end as is_secured
      from pg_class
     where relkind in ('r', 'p', 'v', 'm', 'f') and relnamespace = 'public'::regnamespace
       and not exists (select from pg_depend where objid = pg_class.oid and deptype = 'e')
     order by relname`;
}

function projectWithId({ projectId }: Owner): string {
  return `id = '${projectId}'`;
}

/** A person with a row in every table that has rows of people. */
async function userWithEverything(sql: Pool): Promise<Owner> {
  const user = await createUser(sql);
  const { userId } = user;
  const worker = `worker-of-${userId}`;
  const webhook = await createWebhook(sql, user);
  await sql`update projects set max_running_tasks = 5 where id = ${user.projectId}`;
  await sql`update task_types set max_running_tasks = 100 where name = 'z_image_turbo'`;
  await sql`insert into task_run_times (task_type, model, bucket, runs) values ('z_image_turbo', '', 1, 1) on conflict do nothing`;
  await sql`update auth.users set is_anonymous = false, email_confirmed_at = now() where id = ${userId}`;
  await sql`select create_promo_code('HELLO', 100, 1000, null, null, 30, 'a hello', 'operator')`;
  await sql`select redeem_promo_code(${userId}, 'hello')`;
  await sql`select set_spend_cap(${userId}, ${user.projectId}, null, 1000000000)`;
  await sql`select open_paid_call(${userId}, null, null, 'ai-voice-prompt', 1, null, null)`;
  await sql`select publish_price('ai-prompt', 'per_unit', 1, '{}', null, 'test', 'test', ${userId})`;
  await sql`select open_paid_call(${userId}, null, null, 'ai-prompt', 1, null, null)`;
  await sql`select calculate_task_cost(${userId}, 'z_image_turbo', '{}')`;
  await sql`select take_back_credit(${userId}, 'refund', 1, null)`;
  await sql`select open_checkout(${userId}, 500, 'https://a.example', 'https://a.example')`;
  await sql`select receive_stripe_event(${`evt_${userId}`}, 'charge.refunded', '{}', false)`;
  const [asked] = await sql`select request_id from checkout_sessions where user_id = ${userId}`;
  const payment = { state: "paid", amount_cents: 500, currency: "usd", user_id: userId, purpose: "checkout" };
  const facts = {
    payment_intent_id: `pi_${userId}`,
    payment: { ...payment, request_id: asked?.["request_id"] as string },
    refunds: [{ id: `re_${userId}`, amount_cents: 1, status: "succeeded" }],
    disputes: [{ id: `dp_${userId}`, amount_cents: 1, status: "won" }],
  };
  await sql`select record_payment(${sql.json(facts)}, now())`;
  await sql`insert into billing_alerts (reason, subject) values ('wrong_amount', ${`pi_${userId}`})`;
  await sql`insert into auto_topup_requests (user_id, amount_cents, balance_cents, customer_id, payment_method_id)
    values (${userId}, 500, 0, 'cus_1', 'pm_1')`;
  await sql`insert into turn_marks (kind, turn) values ('gpu', 1) on conflict do nothing`;
  const finished = await queueTask(sql, user);
  const claimed = await claim(sql, worker, userId);
  assert.equal(claimed?.task_id, finished);
  await complete(sql, finished, { worker, attempt: 1, forUser: userId });
  await sql`update tasks set updated_at = now() - interval '1 year' where id = ${finished}`;
  await sql`select archive_finished_tasks()`;

  const taskId = await queueTask(sql, user);
  await sql`insert into output_files (path, task_id, attempt) values (${taskId}, ${taskId}, 1)`;
  await sql`insert into provider_jobs (task_id, provider, model, attempt, by_owner)
    values (${taskId}, 'fal', 'fal-ai/z-image/turbo', 1, false)`;
  await sql`insert into provider_calls (task_id, provider, model, request_id, cost_microusd)
            values (${taskId}, 'fal', 'fal-ai/qwen-image', ${`call-${user.userId}`}, 7)`;
  await sql`insert into task_provider_costs (task_id, user_id, task_type, day, jobs, provider_cost_microusd)
            values (${taskId}, ${user.userId}, 'z_image_turbo', now(), 1, 7)`;
  await sql`insert into unpaid_provider_costs (user_id, day, unpaid_microusd) values (${user.userId}, now(), 7)`;
  await sql`insert into provider_withdrawals
      (task_id, attempt, user_id, provider, model, by_owner, paid_by, cost_microusd, charge_metadata)
    values (${randomUUID()}, 1, ${userId}, 'fal', 'fal-ai/z-image/turbo', false, ${randomUUID()}, 0, '{}')`;
  const request = {
    task_type: "z_image_turbo",
    params: { prompt: "after the fox" },
    project_id: user.projectId,
    dependant_on: [taskId],
  };
  await sql`select create_task(${userId}, ${sql.json([request])}, false, 'a key')`;
  await sql`select generate_pat(${userId}, ${randomBytes(32)}, 'abcd', 'worker', ${["tasks:run"]})`;
  await sql`select admit(${userId}, null, '', 'create-task', 100, 60)`;
  await sql`
    insert into webhook_attempts (delivery_id, attempt, status_code, duration_ms)
    select id, 1, 500, 12 from webhook_deliveries where endpoint_id = ${webhook.id} limit 1`;
  await sql`insert into run_reports (task_id, attempt, request_hash, answer) values (${taskId}, 1, ${randomBytes(32)}, '{}')`;
  await sql`
    insert into results_to_share (project_id, result_key, user_id)
    values (${user.projectId}, ${randomBytes(32)}, ${userId})`;
  await sql`insert into task_outbox (kind, subject_id, user_id) values ('release_dependants', ${taskId}, ${userId})`;
  await sql`select worker_heartbeat(${userId}, ${worker}, '{}', '[{"message": "loaded"}]')`;
  const [generation] = await sql<
    { id: string }[]
  >`select id from generations where source_task_id = ${finished}`;
  const [shot] = await sql<
    { id: string }[]
  >`insert into shots (project_id) values (${user.projectId}) returning id`;
  assert.ok(generation && shot);
  await sql`select add_generation_to_shot(${shot.id}, ${generation.id})`;
  return { ...user, taskId, webhookId: webhook.id, generationId: generation.id, shotId: shot.id };
}
