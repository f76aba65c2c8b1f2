-- A task type's limit was set, changed or lifted: as many slots, and the running tasks in them. What runs beyond a
-- lowered limit keeps its slot until it ends.
create or replace function public.resize_task_type_slots()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  task public.tasks;
  taken smallint := 0;
begin
  -- In the order in which a run's end takes them; claims wait for neither.
  perform from public.tasks where task_type = new.name and status = 'In Progress' order by id for no key update;
  if old.max_running_tasks is null then
    -- A claim holds its user's turn, or a slot, before it looks for a limit: those that found none have committed when
    -- we go on.
    lock table public.user_turns, public.task_slots in exclusive mode;
  end if;
  perform from public.task_type_slots where task_type = new.name order by slot for update;
  update public.tasks set task_type_slot = null where task_type = new.name and task_type_slot is not null;
  delete from public.task_type_slots where task_type = new.name;
  if new.max_running_tasks is not null then
    for task in select * from public.tasks where task_type = new.name and status = 'In Progress' order by id loop
      taken := taken + 1;
      insert into public.task_type_slots (task_type, slot, task_id) values (new.name, taken, task.id);
      update public.tasks set task_type_slot = taken where id = task.id;
    end loop;
    insert into public.task_type_slots (task_type, slot)
    select new.name, slot from generate_series(taken + 1, new.max_running_tasks) as slot;
  end if;
  return null;
end
$$;
revoke all on function public.resize_task_type_slots from public, anon, authenticated;
