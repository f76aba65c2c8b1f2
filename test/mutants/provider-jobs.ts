import type { Mutant } from "./mutant.ts";

const functions = "supabase/schemas/tasks/functions";

/** Several jobs of one task at a provider: resumed, withdrawn and charged once. */
export const mutants: Mutant[] = [
  {
    check: 8,
    breaks: "each job of a run is charged",
    file: `${functions}/settle_withdrawal.sql`,
    line: `    update public.provider_withdrawals set cost_microusd = 0 where task_id = withdrawal.task_id and state = 'open';`,
    broken: `    null;`,
    tests: "database/money/cancels",
    named: "of two jobs of a deleted task",
  },
  {
    check: 8,
    breaks: "a cancel withdraws the first job alone",
    file: `${functions}/give_up_run.sql`,
    line: `delete from public.provider_jobs where task_id = task.id returning *`,
    broken: `delete from public.provider_jobs where task_id = task.id and step = 0 returning *`,
    tests: "database/money/cancels",
    named: "a run of several jobs is charged once",
  },
  {
    check: 8,
    breaks: "a second job of a step is begun while the first may end well",
    file: `${functions}/note_provider_job.sql`,
    line: `     where begun.request_id is null or begun.by_owner <> excluded.by_owner`,
    broken: `     where true`,
    tests: "database/provider-jobs",
    named: "a job is noted before and after",
  },
  {
    check: 8,
    breaks: "a job whose step failed is not begun again",
    file: "supabase/functions/_shared/worker/fal/jobs.ts",
    line: `reason.endsJob) this.#failed.add(step);`,
    broken: `reason.endsJob && step < 0) this.#failed.add(step);`,
    tests: "supabase/functions/_shared/worker/fal/jobs",
    named: "when one of several jobs fails",
  },
  {
    check: 8,
    breaks: "the webhook completes a task of several jobs with one of them",
    file: "supabase/functions/_shared/providers/fal-webhook.ts",
    line: `  if (!job.completes) return "noted";`,
    broken: `  if (job.completes === undefined) return "noted";`,
    tests: "acceptance/fal-jobs",
    named: "the webhook completes nothing",
  },
];
