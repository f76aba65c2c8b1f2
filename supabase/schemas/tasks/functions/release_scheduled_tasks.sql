-- Lets tasks go whose time has come; answers how many: at most so many, 50 of one user, for up to 500 ms. Waits for nobody and
-- is safe to run anywhere at once: a user whose tenant's lock is held is passed over, and so is a task that is locked.
create or replace function public.release_scheduled_tasks(at_most integer default 1000)
returns integer
language plpgsql set search_path = '' as $$
declare
  started constant timestamptz := clock_timestamp();
  due record;
  -- Users whose lock we have, how many tasks of each went, and users who are busy.
  ours uuid[] := '{}';
  counts integer[] := '{}';
  busy uuid[] := '{}';
  place integer;
  task public.tasks;
  released integer := 0;
begin
  for due in
    select id, user_id from public.tasks where is_scheduled and run_after <= now() order by run_after
  loop
    exit when released >= at_most or clock_timestamp() > started + interval '500 ms';
    continue when due.user_id = any (busy);
    place := array_position(ours, due.user_id);
    if place is null then
      perform from public.task_tenants where user_id = due.user_id for no key update skip locked;
      if not found then
        busy := busy || due.user_id;
        continue;
      end if;
      ours := ours || due.user_id;
      counts := counts || 0;
      place := cardinality(ours);
    end if;
    select * into task from public.tasks
     where id = due.id and is_scheduled and run_after <= now() for no key update skip locked;
    continue when not found;
    update public.tasks set is_scheduled = false, ready_at = now() where id = task.id;
    if task.unmet_dependencies = 0 then
      perform public.ready_lane(task.lane_id, task.run_after);
    end if;
    released := released + 1;
    counts[place] := counts[place] + 1;
    if counts[place] >= 50 then
      busy := busy || due.user_id;
    end if;
  end loop;
  return released;
end
$$;
revoke all on function public.release_scheduled_tasks from public, anon, authenticated;
