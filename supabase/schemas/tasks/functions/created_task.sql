-- What a create answers about a task, the first time and every time after. `cost` is what it is expected to cost; of one that
-- reused a result, and is complete, what it did cost.
create or replace function public.created_task(task public.tasks, exact boolean, price_version integer)
returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  is_reused constant boolean := task.reused_task_id is not null;
begin
  return case when is_reused then public.amounts_of_quote(task.cost_microusd, task.cost_microusd, task.cost_microusd)
    else public.amounts_of_quote(task.expected_microusd, task.held_microusd, task.upper_bound_microusd) end
    || jsonb_build_object(
    'task_id', task.id, 'status', case when is_reused then 'Task complete' else 'Task queued' end,
    'task_type', task.task_type, 'project_id', task.project_id,
    'exact', exact or is_reused, 'price_version', price_version,
    'reused', is_reused, 'shares_run', task.is_following);
end
$$;
revoke all on function public.created_task from public, anon, authenticated;
