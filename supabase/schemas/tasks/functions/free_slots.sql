-- Gives back what a running task occupied and opens what waited for it. The caller has ended the task's run.
create or replace function public.free_slots(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
begin
  if task.task_type_slot is not null then
    perform public.free_task_type_slot(task);
  end if;
  if task.slot is null then
    return;
  end if;
  perform public.lock_tenant(task.user_id);
  update public.task_slots set task_id = null where user_id = task.user_id and slot = task.slot;
  if task.project_slot is not null then
    -- Beyond a limit that was lowered, the slot goes.
    delete from public.project_slots
     where project_id = task.project_id and slot = task.project_slot
       and (select count(*) from public.project_slots where project_id = task.project_id)
           > (select max_running_tasks from public.projects where id = task.project_id);
    update public.project_slots set task_id = null
     where project_id = task.project_id and slot = task.project_slot;
  end if;
  perform public.open_lanes(task.user_id);
end
$$;
revoke all on function public.free_slots from public, anon, authenticated;
