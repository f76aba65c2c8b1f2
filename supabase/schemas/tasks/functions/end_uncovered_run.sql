-- Ends a run that its account can pay no further: Failed with `credit_exhausted`, not retried, and charged for the seconds
-- that it took, at most what is held for it. A part is charged with its orchestration, which ends with it, and whose other parts
-- that run are charged as if the owner had cancelled them.
-- The caller holds the locks of the task, its orchestrations, its tenant and its account.
create or replace function public.end_uncovered_run(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  ended_at constant timestamptz := clock_timestamp();
  ended public.tasks;
begin
  update public.tasks
     set generation_processed_at = ended_at,
         cost_microusd = least(public.cost_of_run(task, true, ended_at), task.held_microusd)
   where id = task.id
  returning * into ended;
  if ended.orchestrator_task_id is null then
    perform public.close_hold(ended.id, ended.cost_microusd, public.charge_metadata(ended));
  end if;
  perform public.end_task(ended.id, 'Failed', 'credit_exhausted', by_owner => true);
end
$$;
revoke all on function public.end_uncovered_run from public, anon, authenticated;
