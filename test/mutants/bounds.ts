import type { Mutant } from "./mutant.ts";

const tasks = "supabase/schemas/tasks/functions";
const credits = "supabase/schemas/credits/functions";

/** What a payer may cause: estimates, growing holds, what is given for nothing. */
export const mutants: Mutant[] = [
  {
    check: 63,
    breaks: "earlier runs bound what later ones cost",
    file: `${credits}/price_part.sql`,
    line: `      upper_bound_seconds := (select max_runtime_seconds from public.task_types where name = for_task_type);`,
    broken: `      upper_bound_seconds := (
        select least(max_runtime_seconds, coalesce(ceil(2 * runs.p90)::integer, max_runtime_seconds))
          from public.task_types, public.run_time_statistics(array[for_task_type], null) as runs
         where name = for_task_type);`,
    tests: "money/payer-bounds",
    named: "check 63: after 60",
  },
  {
    check: 63,
    breaks: "a model's name that a payer made up has run times of its own",
    file: `${tasks}/note_run_time.sql`,
    line: `  for_model constant text := public.known_model(finished.model);`,
    broken: `  for_model constant text := coalesce(finished.model, '');`,
    tests: "money/payer-bounds",
    named: "check 63: 200 invented",
  },
  {
    check: 63,
    breaks: "the sandbox's runs are counted",
    file: `${tasks}/is_sandbox_worker.sql`,
    line: `  return coalesce(starts_with(worker_id, 'sandbox-'), false);`,
    broken: `  return false;`,
    tests: "money/payer-bounds",
    named: "check 63: runs of the sandbox",
  },
  {
    check: 63,
    breaks: "a hold does not grow while its task runs",
    file: `${tasks}/cover_run.sql`,
    line: `  held := public.raise_hold(task, public.hold_for_seconds(price, task.billed, wanted_seconds));`,
    broken: `  held := task.held_microusd;`,
    tests: "money/payer-bounds",
    named: "check 63: 200 sequences",
  },
  {
    check: 63,
    breaks: "a run goes on although its account can pay no further",
    file: `${tasks}/end_uncovered_runs.sql`,
    line: `      if task.covered_until <= now() then`,
    broken: `      if false then`,
    tests: "money/payer-bounds",
    named: "check 63: 200 sequences",
  },
  {
    check: 63,
    breaks: "a run that ends because its account is empty is free",
    file: `${tasks}/end_uncovered_run.sql`,
    line: `cost_microusd = public.cost_of_run(task, true, ended_at)`,
    broken: `cost_microusd = 0`,
    tests: "money/payer-bounds",
    named: "check 63: 200 sequences",
  },
  {
    check: 63,
    breaks: "what a hold is short of is not taken from the available credit",
    file: `${tasks}/cover_cost.sql`,
    line: `    held := public.raise_hold(finished, finished.cost_microusd);`,
    broken: `    held := finished.held_microusd;`,
    tests: "money/payer-bounds",
    named: "check 63: a run whose worker never heartbeats",
  },
  {
    check: 63,
    breaks: "a hold grows beyond a spend cap",
    file: `${credits}/available_for_hold.sql`,
    line: `      where (project_id = hold.project_id or token_id = hold.token_id)`,
    broken: `      where false`,
    tests: "money/payer-bounds",
    named: "check 63: a spend cap",
  },
  {
    check: 63,
    breaks: "the sandbox does paid work beside a database of the operator's",
    file: "server/local-host.ts",
    line: `  return sandbox ?? !(fal?.FAL_KEY || databaseUrl || sellsForMoney(installation));`,
    broken: `  return sandbox ?? !(fal?.FAL_KEY || sellsForMoney(installation));`,
    tests: "server/local-host",
    named: "the sandbox runs by default",
  },
  {
    check: 19,
    breaks: "one network is a source of any number of welcome bonuses",
    file: `${credits}/welcome_bonus_refusal.sql`,
    line: `            where network_hash = sha256(convert_to(network, 'UTF8')) and created_at > now() - interval '1 day')`,
    broken: `            where false)`,
    tests: "database/welcome-bonus",
    named: "40 sign-ups",
  },
  {
    check: 19,
    breaks: "an address that a host confirms by itself is proven",
    file: `${credits}/welcome_bonus_refusal.sql`,
    line: `         and not public.address_is_proven(person) then 'address_not_proven'`,
    broken: `         and person.email_confirmed_at is null then 'address_not_proven'`,
    tests: "database/welcome-bonus",
    named: "40 sign-ups",
  },
  {
    check: 66,
    breaks: "an account is given one free model call more than its allowance",
    file: `${credits}/take_free_calls.sql`,
    line: `      where excluded.calls + case when used.day = excluded.day then used.calls else 0 end <= allowance;`,
    broken: `      where excluded.calls + case when used.day = excluded.day then used.calls else 0 end <= allowance + 1;`,
    tests: "database/free-calls",
    named: "an account is given",
  },
];
