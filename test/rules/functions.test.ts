import assert from "node:assert/strict";
import { test } from "node:test";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { withDatabase } from "../support/database.ts";
import { assertNone } from "./assert-none.ts";
import { filesBelow, type SqlCall, sqlCalls, sqlFunctions, textOf } from "./sources.ts";

/** How browsers arrange shots, over REST and under their own policies. */
const forArrangingShots = [
  "add_generation_to_shot",
  "batch_update_timeline_frames",
  "create_shot_with_image",
  "duplicate_shot",
  "exchange_timeline_frames",
  "insert_shot_at_position",
  "next_frame",
  "position_existing_generation_in_shot",
  "project_to_arrange",
  "refuse",
  "reorder_shots",
  "shot_to_change",
  "uuid_or_null",
].map((name): [string, string] => [name, "arranges shots that the caller may change"]);

/** What browsers may call, beside nothing. */
const forAuthenticated = new Map([
  ["create_user_record_if_not_exists", "after sign-in; makes the caller's own rows and no other"],
  ["may_read_topic", "asked by the policy of realtime.messages, as the caller"],
  ["is_readable_file", "asked by the policies of storage.objects, as the caller"],
  ...forArrangingShots,
]);

/** What the service role may call although no use case does. */
const forService = new Map([
  ["admit", "runs before every function that is called for a user or a token"],
  ["may_read_topic", "asked by the policy of realtime.messages"],
  ["sweep_expired_leases", "run by an operator"],
  ["tend_queue", "runs on a timer of the standalone host, or by an operator"],
  ["tidy_counts", "runs on a timer of the standalone host, or by an operator"],
  ["archive_finished_tasks", "runs on a timer of the standalone host, or by an operator"],
  ["settle_followers", "runs on a timer of the standalone host, or by an operator"],
  ["run_task_outbox", "runs on a timer of the standalone host, or by an operator"],
  ["empty_account", "called by the standalone host before it deletes a user, or by an operator"],
  ["expire_due_grants", "runs on a timer of the standalone host, or by an operator"],
  ["tend_paid_calls", "runs on a timer of the standalone host, or by an operator"],
  ["give_up_old_tasks", "runs on a timer of the standalone host, or by an operator"],
  ["grow_due_holds", "runs on a timer of the standalone host, or by an operator"],
  ["end_uncovered_runs", "runs on a timer of the standalone host, or by an operator"],
  ["forget_old_requests", "runs on a timer of the standalone host, or by an operator"],
  ["mark_silent_workers", "runs on a timer of the standalone host, or by an operator"],
  ["forget_old_logs", "runs on a timer of the standalone host, or by an operator"],
  ["save_payment_method", "called where a paid checkout is recorded"],
  ["forget_payment_method", "called where an event says that a card was detached"],
  ...forArrangingShots,
  ["func_worker_heartbeat_with_logs", "called over REST by the shipped GPU worker"],
  ["func_update_worker_heartbeat", "called over REST by autoscalers"],
  ["func_insert_logs_batch", "called over REST by autoscalers and API workers"],
]);

interface CatalogFunction {
  name: string;
  signature: string;
  settings: string[] | null;
  argument_names: string[];
  required_names: string[];
  roles: string[];
}

const calls: SqlCall[] = filesBelow("supabase/functions", ".ts")
  .filter((file) => !file.endsWith(".test.ts"))
  .flatMap((file) => sqlCalls(file));

test("each name in public is one function, which pins its search_path", () =>
  withDatabase(async ({ sql }) => {
    const functions = await functionsOfPublic(sql);
    const names = functions.map(({ name }) => name);
    assertNone(
      functions
        .filter(({ name }) => names.indexOf(name) !== names.lastIndexOf(name))
        .map(({ signature }) => signature),
      "Drop the old signature; a name never has two:",
    );
    assertNone(
      functions
        .filter(({ settings }) => !settings?.some((setting) => /^search_path=("")?$/.test(setting)))
        .map(({ signature }) => signature),
      "Add `set search_path = ''`, or whoever makes an object of the right name decides what this calls:",
    );
  }));

test("nobody may execute a function of public that was not granted on purpose", () =>
  withDatabase(async ({ sql }) => {
    const functions = await functionsOfPublic(sql);
    const called = new Set(calls.map(({ name }) => name));
    const faults = functions.flatMap(({ name, signature, roles }) =>
      roles
        .filter((role) => {
          if (role === "authenticated") return !forAuthenticated.has(name);
          if (role === "service_role") return !called.has(name) && !forService.has(name);
          return true;
        })
        .map((role) => `${role} may execute ${signature}`),
    );
    assertNone(faults, "Revoke it, or write into the list of this test why it must be:");

    const stale = [
      ...[...forAuthenticated.keys()].map((name) => ({ name, role: "authenticated" })),
      ...[...forService.keys()].map((name) => ({ name, role: "service_role" })),
    ].filter(
      ({ name, role }) => !functions.some((known) => known.name === name && known.roles.includes(role)),
    );
    assertNone(
      stale.map(({ name, role }) => `${role}: ${name}`),
      "These are in the lists of this test and not granted:",
    );
  }));

test("use cases call SQL functions that exist, are granted and take these arguments", () =>
  withDatabase(async ({ sql }) => {
    assert.ok(calls.length >= 10, "the calls of the use cases were found");
    const functions = new Map((await functionsOfPublic(sql)).map((known) => [known.name, known]));
    const faults = calls.flatMap(({ file, name, args }) => {
      const known = functions.get(name);
      if (!known) return [`${file} calls ${name}, which does not exist`];
      const foreign = args.filter((argument) => !known.argument_names.includes(argument));
      const missing = known.required_names.filter((argument) => !args.includes(argument));
      return [
        ...(known.roles.includes("service_role")
          ? []
          : [`${file} calls ${name}, which service_role may not`]),
        ...foreign.map((argument) => `${file}: ${name} takes no argument ${argument}`),
        ...missing.map((argument) => `${file}: ${name} needs the argument ${argument}`),
      ];
    });
    assertNone(faults, "Use cases and SQL functions disagree:");
  }));

test("use cases call SQL functions by a literal name with literal argument names", () => {
  const faults = filesBelow("supabase/functions/_shared", ".ts")
    // These two pass on what others call.
    .filter((file) => !file.endsWith(".test.ts") && !/_shared\/(database|http)\//.test(file))
    .filter((file) => [...textOf(file).matchAll(/\.call(Admitted)?[<(]/g)].length !== sqlCalls(file).length);
  assertNone(faults, 'Write `database.call("name", { argument: value })`, so that rules can read it:');
});

test("every function of public has a file of its name, and every file one function", () =>
  withDatabase(async ({ sql }) => {
    const inCatalog = new Set((await functionsOfPublic(sql)).map(({ name }) => name));
    const files = sqlFunctions();
    const faults = files.flatMap(({ file, name, source }) => {
      const defined = [...source.matchAll(/\bcreate\s+(or\s+replace\s+)?function\s+([\w."]+)/gi)];
      return [
        ...(defined.length === 1 && defined[0]?.[2] === `public.${name}` && defined[0][1]
          ? []
          : [`${file} defines ${defined.map((match) => match[2]).join(", ") || "nothing"}`]),
        ...(inCatalog.has(name) ? [] : [`${file} has no function in the database`]),
        ...(source.includes(`revoke all on function public.${name} from public, anon, authenticated;`)
          ? []
          : [`${file} does not revoke what everybody may do`]),
      ];
    });
    const names = files.map(({ name }) => name);
    for (const name of inCatalog) {
      if (!names.includes(name)) faults.push(`public.${name} has no file`);
      if (names.indexOf(name) !== names.lastIndexOf(name)) faults.push(`public.${name} has several files`);
    }
    for (const file of filesBelow("supabase/schemas", ".sql")) {
      const isFunction = file.includes("/functions/");
      if (!isFunction && /\bcreate\s+(or\s+replace\s+)?function\b/i.test(textOf(file))) {
        faults.push(`${file} defines a function`);
      }
    }
    assertNone(faults, "`create or replace function public.<file name>`, once, in <room>/functions:");
  }));

async function functionsOfPublic(sql: Sql): Promise<CatalogFunction[]> {
  return await sql<CatalogFunction[]>`
    select proc.proname as name, proc.oid::regprocedure::text as signature, proc.proconfig as settings,
           coalesce(inputs.names, '{}') as argument_names,
           coalesce(inputs.names[1 : cardinality(inputs.names) - proc.pronargdefaults], '{}') as required_names,
           array(select coalesce(nullif(grantee, 0)::regrole::text, 'PUBLIC')
                   from aclexplode(coalesce(proc.proacl, acldefault('f', proc.proowner)))
                  where privilege_type = 'EXECUTE' and grantee <> proc.proowner) as roles
      from pg_proc as proc,
           lateral (select array_agg(proc.proargnames[position] order by position) as names
                      from generate_subscripts(proc.proargnames, 1) as position
                     where proc.proargmodes is null or proc.proargmodes[position] in ('i', 'b', 'v')) as inputs
     where proc.pronamespace = 'public'::regnamespace
       and not exists (select from pg_depend where objid = proc.oid and deptype = 'e')
     order by name`;
}
