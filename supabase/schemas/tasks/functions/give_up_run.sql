-- What follows when a task ends without an output. Its jobs at a provider are to be withdrawn. Where the owner ended it, the run
-- costs what cost_of_cancel() says; where a worker or a provider failed, nothing. `is_pending`: the withdrawals decide about
-- the cost, which is 0 until then. `task` is the row before its end; the caller has its lock, and writes the cost.
create or replace function public.give_up_run(
  task public.tasks, by_owner boolean, ended_at timestamptz, out cost_microusd bigint, out is_pending boolean, out basis text
)
language plpgsql set search_path = '' as $$
declare
  withdrawal_decides boolean := false;
begin
  cost_microusd := 0;
  basis := 'nothing';
  if by_owner then
    select ending.cost_microusd, ending.basis, ending.withdrawal_decides into cost_microusd, basis, withdrawal_decides
      from public.cost_of_cancel(task, ended_at) as ending;
  end if;
  is_pending := withdrawal_decides and cost_microusd > 0;
  -- The job of a task that is complete has ended with it.
  if task.status not in ('Queued', 'In Progress') then
    return;
  end if;
  with given_up as (
    delete from public.provider_jobs where task_id = task.id returning *
  )
  insert into public.provider_withdrawals
    (task_id, step, attempt, user_id, provider, model, request_id, webhook_key, by_owner, paid_by, cost_microusd, charge_metadata,
     provider_cost_microusd)
  select task.id, job.step, job.attempt, task.user_id, job.provider, job.model, job.request_id, job.webhook_key, job.by_owner,
         public.payer_of_task(task), case when is_pending and not job.by_owner then give_up_run.cost_microusd else 0 end,
         public.charge_metadata(task) || jsonb_build_object('reason', 'cancelled'), job.cost_microusd
    from given_up as job;
  if is_pending then
    cost_microusd := 0;
  end if;
end
$$;
revoke all on function public.give_up_run from public, anon, authenticated;
