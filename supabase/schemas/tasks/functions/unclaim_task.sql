-- Puts a task back whose worker hung up before it was told of its claim. No run failed, so none is counted;
-- `attempt` stays, for numbers are not given out twice. False when the run is over by now.
create or replace function public.unclaim_task(for_user uuid, for_task uuid, for_attempt integer)
returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  task public.tasks;
begin
  select * into task from public.tasks
   where id = for_task and attempt = for_attempt and status = 'In Progress'
     and (for_user is null or user_id = for_user)
   for no key update;
  if not found then
    return false;
  end if;
  perform public.give_task_back(task, null);
  return true;
end
$$;
revoke all on function public.unclaim_task from public, anon, authenticated;
grant execute on function public.unclaim_task to service_role;
