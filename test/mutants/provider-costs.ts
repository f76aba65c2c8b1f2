import type { Mutant } from "./mutant.ts";

const functions = "supabase/schemas/tasks/functions";
const tests = "database/money/provider-costs";

/** What providers bill for tasks, and that no job is submitted at a loss. */
export const mutants: Mutant[] = [
  {
    check: 91,
    breaks: "a job that costs more than its task is submitted",
    file: `${functions}/require_provider_margin.sql`,
    line: `  if cost_microusd <= charge
`,
    broken: `  if cost_microusd is not null
`,
    tests,
    named: "is not submitted",
  },
  {
    check: 91,
    breaks: "a price that is not known counts as none",
    file: `${functions}/require_provider_margin.sql`,
    line: `  if cost_microusd <= charge
`,
    broken: `  if coalesce(cost_microusd, 0) <= charge
`,
    tests,
    named: "is not submitted",
  },
  {
    check: 91,
    breaks: "jobs of other steps that are about to be submitted do not count",
    file: `${functions}/cost_with_margin.sql`,
    line: `and begun.request_id is null and not begun.by_owner), 0));`,
    broken: `and begun.request_id is null and begun.by_owner), 0));`,
    tests,
    named: "two steps noted at the same time",
  },
  {
    check: 91,
    breaks: "a task that is refused stays with its hold",
    file: `${functions}/end_unprofitable_run.sql`,
    line: `  perform public.end_task(
    task.id, 'Failed', 'not_available: this task cannot be run at the moment. Nothing is charged.', by_owner => false);`,
    broken: `  perform 1;`,
    tests,
    named: "is not submitted",
  },
  {
    check: 91,
    breaks: "what ended without a charge limits nothing",
    file: `${functions}/require_unpaid_allowance.sql`,
    line: `unpaid <= allowance
`,
    broken: `unpaid > 0
`,
    tests: "database/money/unpaid-provider-costs",
    named: "beyond the allowance",
  },
  {
    check: 91,
    breaks: "a charge that comes after the end of a task does not correct what it cost unpaid",
    file: `${functions}/settle_withdrawal.sql`,
    line: `  perform public.count_unpaid_cost(array[withdrawal.task_id, withdrawal.paid_by]);`,
    broken: `  perform 1;`,
    tests: "database/money/unpaid-provider-costs",
    named: "until it is charged",
  },
  {
    check: 91,
    breaks: "work by the second counts its longest run",
    file: `${functions}/charge_of_provider_run.sql`,
    line: `    else public.cost_of_run(task, true) end;`,
    broken: `    else task.upper_bound_microusd end;`,
    tests,
    named: "paid by the second",
  },
  {
    check: 91,
    breaks: "a join is priced without the frames of its clips and its gap",
    file: "supabase/schemas/credits/functions/seconds_of_frames.sql",
    line: `  return greatest(ceil((frames - 1) / 16), 1);`,
    broken: `  return greatest(ceil((frames - 1) / 30), 1);`,
    tests: "database/money/default-prices",
    named: "default prices of films",
  },
  {
    check: 92,
    breaks: "a job is added as often as it is noted",
    file: `${functions}/count_provider_call.sql`,
    line: `  if not found then
    return;
  end if;
`,
    broken: ``,
    tests,
    named: "added to its task's cost once",
  },
  {
    check: 92,
    breaks: "a job that failed or was withdrawn stays in the cost",
    file: `${functions}/release_provider_call.sql`,
    line: `provider_cost_microusd - coalesce(released.cost_microusd, 0)`,
    broken: `provider_cost_microusd - 0`,
    tests,
    named: "withdrawn before it began",
  },
  {
    check: 92,
    breaks: "a job that is known by its webhook alone is not added",
    file: `${functions}/find_provider_job.sql`,
    line: `    perform public.count_provider_call(job, task.user_id, task.task_type)
       from public.tasks as task where task.id = job.task_id;`,
    broken: `    perform 1;`,
    tests,
    named: "becomes known by the webhook",
  },
  {
    check: 92,
    breaks: "an owner's own worker costs the operator",
    file: `${functions}/note_provider_job.sql`,
    line: `    if not noted.by_owner then`,
    broken: `    if noted.task_id is not null then`,
    tests,
    named: "owner's own worker",
  },
];
