-- The work that a task's cost is made of: the task itself; of an orchestration its children, and those of orchestrations
-- within it. Archived ones too.
create or replace function public.parts_of_task(for_task uuid)
returns setof public.all_tasks
language plpgsql stable set search_path = '' as $$
begin
  return query
    with recursive family (id) as (
      select for_task
      union
      select child.id from family join public.all_tasks as child on child.orchestrator_task_id = family.id
    )
    select part.* from family join public.all_tasks as part on part.id = family.id
     where not part.is_orchestrator;
end
$$;
revoke all on function public.parts_of_task from public, anon, authenticated;
