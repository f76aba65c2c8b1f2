-- What the owner pays for cancelling a task at this moment, at most: of an orchestrator its finished parts, and those that run
-- by cost_of_cancel().
create or replace function public.cost_of_cancel_now(for_task uuid)
returns bigint
language plpgsql stable set search_path = '' as $$
declare
  part public.tasks;
  total bigint := 0;
begin
  for part in
    with recursive family (id) as (
      select for_task
      union
      select child.id from family join public.tasks as child on child.orchestrator_task_id = family.id
    )
    select task.* from family join public.tasks as task on task.id = family.id
  loop
    total := total + case when part.is_orchestrator then 0 else coalesce(part.cost_microusd, 0) end
      + (public.cost_of_cancel(part)).cost_microusd;
  end loop;
  return total;
end
$$;
revoke all on function public.cost_of_cancel_now from public, anon, authenticated;
