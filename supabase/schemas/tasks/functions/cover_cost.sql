-- Before a finished run is charged: a hold that is short of its cost takes the rest from the available credit, and what a part
-- did not use serves the other parts of its orchestration. The caller holds the locks of the task and its orchestrations.
create or replace function public.cover_cost(finished public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  held bigint := finished.held_microusd;
begin
  if not finished.in_cloud then
    return;
  end if;
  if finished.cost_microusd > held and not finished.is_orchestrator then
    held := public.raise_hold(finished, finished.cost_microusd);
    update public.tasks set held_microusd = held where id = finished.id;
  end if;
  if finished.orchestrator_task_id is not null then
    update public.tasks set children_held_microusd = children_held_microusd - greatest(held - finished.cost_microusd, 0)
     where id = finished.orchestrator_task_id;
  end if;
end
$$;
revoke all on function public.cover_cost from public, anon, authenticated;
