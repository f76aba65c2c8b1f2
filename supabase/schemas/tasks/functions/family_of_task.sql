-- A task with its children, and theirs. In PL/pgSQL, as is family_may_leave(): called for every row of a
-- batch, they would be planned anew each time as SQL functions.
create or replace function public.family_of_task(root uuid)
returns setof uuid
language plpgsql stable set search_path = '' rows 1 as $$
begin
  return query
    with recursive family (id) as (
      select root
      union
      select child.id from family join public.tasks as child on child.orchestrator_task_id = family.id
    )
    select id from family;
end
$$;
revoke all on function public.family_of_task from public, anon, authenticated;
