-- The longest chain of tasks that are not complete which a task with these dependencies would stand behind, itself not counted.
-- Reads the numbers that were stored at creation. They are too high where the first of a chain have completed since; so a
-- number above the limit is counted anew, along at most 5,000 dependencies.
create or replace function public.open_dependency_depth(dependencies uuid[], allowed integer)
returns integer
language plpgsql set search_path = '' as $$
declare
  depth integer;
  counted record;
begin
  select coalesce(max(dependency_depth) + 1, 0) into depth
    from public.tasks where id = any (dependencies) and status <> 'Complete';
  if depth <= allowed then
    return depth;
  end if;
  with recursive before (task_id, level) as (
    select id, 1 from public.tasks where id = any (dependencies) and status <> 'Complete'
    union
    select needed.dependency_id, before.level + 1
      from before join public.task_dependencies as needed on needed.task_id = before.task_id and needed.is_waiting
     where before.level <= allowed
  )
  select count(*) as steps, max(level) as level into counted from (select level from before limit 5001) as step;
  return case when counted.steps > 5000 then depth else counted.level end;
end
$$;
revoke all on function public.open_dependency_depth from public, anon, authenticated;
