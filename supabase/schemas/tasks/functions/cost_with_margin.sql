-- What a job costs that is about to be submitted for a task, after require_provider_margin() has compared what the task costs with it:
-- its billed jobs, those that other steps are about to submit, and this one. The caller holds the running task's lock.
create or replace function public.cost_with_margin(task public.tasks, job jsonb)
returns bigint
language plpgsql set search_path = '' as $$
declare
  cost constant bigint := public.cost_of_provider_call(job ->> 'provider', job ->> 'model', job -> 'units');
begin
  perform public.require_provider_margin(task, cost
    + coalesce((select known.provider_cost_microusd from public.task_provider_costs as known where known.task_id = task.id), 0)
    + coalesce((select sum(begun.cost_microusd)::bigint from public.provider_jobs as begun
                 where begun.task_id = task.id and begun.step <> coalesce((job ->> 'step')::smallint, 0)
                   and begun.request_id is null and not begun.by_owner), 0));
  return cost;
end
$$;
revoke all on function public.cost_with_margin from public, anon, authenticated;
