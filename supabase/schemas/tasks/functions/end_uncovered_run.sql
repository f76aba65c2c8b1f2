-- Ends a run that its account can pay no further: Failed with `credit_exhausted`, not retried. It costs the seconds that it took,
-- and is charged at most what is held for it. With a part ends its orchestration, and the other parts that run are charged as if
-- the owner had cancelled them: an account without credit gets none of them for nothing.
-- The caller holds the locks of the task, its orchestrations, its tenant and its account.
create or replace function public.end_uncovered_run(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  ended_at constant timestamptz := clock_timestamp();
  ended public.tasks;
begin
  update public.tasks
     set generation_processed_at = ended_at, cost_microusd = public.cost_of_run(task, true, ended_at)
   where id = task.id
  returning * into ended;
  if ended.orchestrator_task_id is null then
    perform public.close_hold(ended.id, ended.cost_microusd, public.charge_metadata(ended));
  end if;
  perform public.end_task(ended.id, 'Failed', 'credit_exhausted', by_owner => true);
end
$$;
revoke all on function public.end_uncovered_run from public, anon, authenticated;
