-- Gives back what running tasks of one user occupied and opens what waited for it. The caller has ended their runs.
create or replace function public.free_slots(ended public.tasks[])
returns void
language plpgsql set search_path = '' as $$
declare
  task public.tasks;
  owner_id constant uuid := ended[1].user_id;
  slots constant smallint[] := array(select slot from unnest(ended) where slot is not null);
begin
  foreach task in array ended loop
    if task.task_type_slot is not null then
      perform public.free_task_type_slot(task);
    end if;
  end loop;
  if cardinality(slots) = 0 then
    return;
  end if;
  perform public.lock_tenant(owner_id);
  update public.task_slots set task_id = null where user_id = owner_id and slot = any (slots);
  foreach task in array ended loop
    if task.project_slot is not null then
      -- Beyond a limit that was lowered, the slot goes.
      delete from public.project_slots
       where project_id = task.project_id and slot = task.project_slot
         and (select count(*) from public.project_slots where project_id = task.project_id)
             > (select max_running_tasks from public.projects where id = task.project_id);
      update public.project_slots set task_id = null
       where project_id = task.project_id and slot = task.project_slot;
    end if;
  end loop;
  perform public.open_lanes(owner_id);
end
$$;
revoke all on function public.free_slots from public, anon, authenticated;
