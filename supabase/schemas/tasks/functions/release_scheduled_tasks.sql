-- Lets tasks go whose time has come; answers how many. Safe to run anywhere at once: a task that another run has
-- locked is skipped.
create or replace function public.release_scheduled_tasks(at_most integer default 1000)
returns integer
language plpgsql set search_path = '' as $$
declare
  task public.tasks;
  released integer := 0;
begin
  for task in
    select * from public.tasks where is_scheduled and run_after <= now()
     order by run_after limit at_most for no key update skip locked
  loop
    update public.tasks set is_scheduled = false where id = task.id;
    if task.unmet_dependencies = 0 then
      perform public.lock_tenant(task.user_id);
      perform public.ready_lane(task.lane_id, task.run_after);
    end if;
    released := released + 1;
  end loop;
  return released;
end
$$;
revoke all on function public.release_scheduled_tasks from public, anon, authenticated;
