-- A project's limit was set, changed or lifted: as many slots, its running tasks in them, and its queued tasks in
-- lanes of their own, so that those who wait for the limit hold up nobody. What runs beyond a lowered limit keeps
-- its slot until it ends.
create or replace function public.resize_project_slots()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  task public.tasks;
  lane bigint;
  lanes bigint[] := '{}';
  taken smallint := 0;
begin
  -- In the order in which a run's end takes them.
  perform from public.tasks where project_id = new.id and status = 'In Progress' order by id for no key update;
  perform public.lock_tenant(new.user_id);
  -- A claim holds the slot that it is about to fill: those that began before have committed when all are ours, and
  -- no other begins.
  perform from public.task_slots where user_id = new.user_id order by slot for no key update;
  update public.tasks set project_slot = null where project_id = new.id and project_slot is not null;
  delete from public.project_slots where project_id = new.id;
  if new.max_running_tasks is not null then
    for task in
      select * from public.tasks
       where project_id = new.id and status = 'In Progress' and not is_orchestrator order by id
    loop
      taken := taken + 1;
      insert into public.project_slots (project_id, slot, task_id) values (new.id, taken, task.id);
      update public.tasks set project_slot = taken where id = task.id;
    end loop;
    insert into public.project_slots (project_id, slot)
    select new.id, slot from generate_series(taken + 1, new.max_running_tasks) as slot;
  end if;
  for task in select * from public.tasks where project_id = new.id and status = 'Queued' order by id loop
    lane := public.find_lane(new, task.task_type, coalesce(task.model, ''), task.in_cloud, task.is_orchestrator);
    update public.tasks set lane_id = lane where id = task.id and status = 'Queued' and lane_id <> lane;
    if found and task.unmet_dependencies = 0 and not task.is_scheduled then
      lanes := lanes || lane;
    end if;
  end loop;
  perform public.ready_lane(moved.id, now()) from (select distinct unnest(lanes) as id) as moved;
  update public.task_lanes as lane set is_ready = false, is_open = false
   where lane.user_id = new.user_id and lane.is_ready
     and not exists (select from public.tasks
                      where lane_id = lane.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled);
  perform public.open_lanes(new.user_id);
  return null;
end
$$;
revoke all on function public.resize_project_slots from public, anon, authenticated;
