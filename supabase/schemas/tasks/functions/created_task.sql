-- What a create answers about a task, the first time and every time after. One that reused a result is complete, and costs what
-- it did cost; the others, their upper bound.
create or replace function public.created_task(task public.tasks, exact boolean, price_version integer)
returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  is_reused constant boolean := task.reused_task_id is not null;
  cost constant bigint := case when is_reused then task.cost_microusd else task.upper_bound_microusd end;
begin
  return jsonb_build_object(
    'task_id', task.id, 'status', case when is_reused then 'Task complete' else 'Task queued' end,
    'task_type', task.task_type, 'project_id', task.project_id,
    'cost', cost / 10000.0, 'upper_bound_microusd', cost, 'exact', exact or is_reused, 'price_version', price_version,
    'reused', is_reused, 'shares_run', task.is_following);
end
$$;
revoke all on function public.created_task from public, anon, authenticated;
