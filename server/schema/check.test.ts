import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { withDatabase } from "../../test/support/database.ts";
import { findSchemaFaults } from "./check.ts";
import { missing } from "./faults.ts";
import { readManifest } from "./manifest.ts";

/** One loss of each kind that a restore can leave behind, and the fault that names it. */
const losses: { loss: string; fault: string }[] = [
  { loss: "drop policy tasks_select_own on tasks", fault: "policy_missing public.tasks tasks_select_own" },
  {
    loss: "alter policy projects_own on projects to anon",
    fault: "policy_differs public.projects projects_own",
  },
  {
    loss: "drop policy media_select_own on storage.objects",
    fault: "policy_missing storage.objects media_select_own",
  },
  { loss: "alter table tasks disable row level security", fault: "row_level_security_off public.tasks" },
  { loss: "alter table auth.users disable row level security", fault: "row_level_security_off auth.users" },
  {
    loss: "drop trigger broadcast_balance on credit_accounts",
    fault: "trigger_missing public.credit_accounts broadcast_balance",
  },
  {
    loss: "alter table tasks disable trigger tasks_leave_queue",
    fault: "trigger_differs public.tasks tasks_leave_queue",
  },
  {
    loss: "revoke select on tasks from authenticated",
    fault: "grant_missing table public.tasks to authenticated",
  },
  { loss: "revoke usage on schema public from anon", fault: "grant_missing schema public to anon" },
  {
    loss: "revoke execute on function tend_queue from service_role",
    fault: "grant_missing function public.tend_queue(at_most integer) to service_role",
  },
  {
    loss: "drop function public.settle_followers cascade",
    fault: "function_missing public.settle_followers(at_most integer)",
  },
  { loss: "alter function refuse set search_path = public", fault: "function_differs public.refuse(" },
  { loss: "drop index one_charge_per_task", fault: "index_missing public.one_charge_per_task" },
  {
    loss: "alter table credit_accounts drop constraint held_is_covered",
    fault: "constraint_missing public.credit_accounts held_is_covered",
  },
  {
    loss: "alter publication supabase_realtime drop table tasks",
    fault: "published_missing public.tasks in supabase_realtime",
  },
  { loss: "alter view all_tasks reset (security_invoker)", fault: "view_differs public.all_tasks" },
];

test("findSchemaFaults() names each policy, grant, trigger, function and index that is missing", () =>
  withDatabase(async ({ sql }) => {
    assert.deepEqual(await faultsOf(sql), []);
    for (const { loss } of losses) await sql.query(loss);
    const found = await faultsOf(sql);
    for (const { loss, fault } of losses) {
      assert.ok(
        found.some((line) => line.startsWith(fault)),
        `"${loss}" was found as ${JSON.stringify(found)}`,
      );
    }
    // A function that is gone takes its grant with it.
    assert.equal(found.length, losses.length + 1, JSON.stringify(found));
  }));

test("findSchemaFaults() names every function that a dump without privileges opened to everybody", () =>
  withDatabase(async ({ sql }) => {
    await sql`update pg_proc set proacl = null where pronamespace = 'public'::regnamespace`;
    const found = await faultsOf(sql);
    const functions = found.filter((line) => line.startsWith("function_differs public."));
    assert.ok(functions.length > 300, String(functions.length));
  }));

test("findSchemaFaults() accepts an operator's own tables, policies, grants, roles and limits", () =>
  withDatabase(async ({ sql }) => {
    await sql.query(`
      create schema reports;
      create table reports.daily (day date primary key, tasks bigint);
      create table public.notes (id uuid primary key, user_id uuid references auth.users);
      alter table public.notes enable row level security;
      create policy notes_own on public.notes using (user_id = auth.uid());
      create policy tasks_of_staff on public.tasks for select to authenticated using (false);
      grant select on public.notes to authenticated, anon;
      grant insert on public.projects to anon;
      alter table public.tasks add column note text;
      create index tasks_note on public.tasks (note);
      create trigger noted before update on public.tasks for each row execute function suppress_redundant_updates_trigger();
      create function public.noted() returns int language sql as 'select 1';
      alter table public.tasks set (fillfactor = 70);
      update storage.buckets set file_size_limit = 1 where id = 'training-data'`);
    assert.deepEqual(await findSchemaFaults(sql), []);
  }));

test("a database that Supabase runs is compared with the migrations alone", () =>
  withDatabase(async ({ sql }) => {
    const { platform, migrations } = await readManifest();
    assert.ok("table auth.users" in platform && !("table auth.users" in migrations));
    assert.ok("policy storage.objects media_select_own" in migrations);
    assert.ok(
      Object.keys(migrations).every(
        (thing) => !/^(table|column|function) (auth|storage|realtime|darkroom_host)\./.test(thing),
      ),
    );
    assert.equal(missing(migrations, new Map()).length, Object.keys(migrations).length);
    // A newer release knows what its database must contain.
    await sql`insert into supabase_migrations.schema_migrations (version, name) values ('20991231235959', 'later')`;
    await sql`drop policy tasks_select_own on tasks`;
    assert.deepEqual(await findSchemaFaults(sql), []);
  }));

async function faultsOf(sql: Pool): Promise<string[]> {
  return (await findSchemaFaults(sql)).map(({ rule, row_id }) => `${rule} ${row_id}`);
}
