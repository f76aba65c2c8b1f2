-- A task with its children, and theirs.
create or replace function public.family_of_task(root uuid)
returns setof uuid
language sql stable set search_path = '' rows 1 as $$
  with recursive family (id) as (
    select root
    union
    select child.id from family join public.tasks as child on child.orchestrator_task_id = family.id
  )
  select id from family
$$;
revoke all on function public.family_of_task from public, anon, authenticated;
