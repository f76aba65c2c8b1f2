-- Ends a run that its account can pay no further: Failed with `credit_exhausted`, not retried. It costs the seconds that it took,
-- and is charged at most what is held for it. With a part ends its orchestration, and the other parts that run are charged for
-- their seconds too: whoever lets an account run dry gets none of them for nothing. `result_data` marks each of these runs.
-- The caller holds the locks of the task, its orchestrations, its tenant and its account.
create or replace function public.end_uncovered_run(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  ended_at constant timestamptz := clock_timestamp();
  outermost constant uuid := (public.orchestrations_around(task.id))[1];
  running uuid[];
  ended public.tasks;
begin
  running := array(
    select run.id from public.tasks as run
     where run.id = any (array[task.id] || array(select part.id from public.parts_of_task(outermost) as part))
       and run.status = 'In Progress' and not run.claimed_by_owner and not run.is_orchestrator
       and (select billing_type from public.task_type_prices where id = run.price_id) = 'per_second'
     order by run.id for no key update);
  update public.tasks as run
     set generation_processed_at = ended_at, cost_microusd = public.cost_of_run(run, true, ended_at),
         result_data = run.result_data || '{"credit_exhausted": true}'
   where run.id = any (running);
  select * into ended from public.tasks where id = task.id;
  if outermost is null then
    perform public.close_hold(ended.id, ended.cost_microusd, public.charge_metadata(ended));
  end if;
  perform public.end_task(ended.id, 'Failed', 'credit_exhausted');
end
$$;
revoke all on function public.end_uncovered_run from public, anon, authenticated;
