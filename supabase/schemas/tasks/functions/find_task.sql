-- The task, running or archived, if this caller may see it; else 404, the same for foreign and unknown.
-- The archive is looked into only for what is not in `tasks`.
create or replace function public.find_task(for_user uuid, for_task uuid)
returns public.all_tasks
language plpgsql stable set search_path = '' as $$
declare
  task public.all_tasks;
begin
  select * into task from public.all_tasks
   where id = for_task and (for_user is null or user_id = for_user) limit 1;
  if not found then
    perform public.refuse('task_not_found', 404);
  end if;
  return task;
end
$$;
revoke all on function public.find_task from public, anon, authenticated;
