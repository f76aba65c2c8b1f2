-- Gives back a limited type's slot; beyond a limit that was lowered, the slot goes.
create or replace function public.free_task_type_slot(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
begin
  if (select count(*) from public.task_type_slots where task_type = task.task_type)
     > (select max_running_tasks from public.task_types where name = task.task_type) then
    -- One after the other, and counted again: of two that end at once, each would see the other's slot.
    perform from public.task_types where name = task.task_type for no key update;
    delete from public.task_type_slots
     where task_type = task.task_type and slot = task.task_type_slot
       and (select count(*) from public.task_type_slots where task_type = task.task_type)
           > (select max_running_tasks from public.task_types where name = task.task_type);
  end if;
  update public.task_type_slots set task_id = null
   where task_type = task.task_type and slot = task.task_type_slot;
end
$$;
revoke all on function public.free_task_type_slot from public, anon, authenticated;
