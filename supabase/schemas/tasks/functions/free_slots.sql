-- Gives back what a running task occupied and opens what waited for it. The caller has ended the task's run.
create or replace function public.free_slots(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
begin
  if task.task_type_slot is not null then
    delete from public.task_type_slots as freed
     using public.task_types as kind
     where freed.task_type = task.task_type and freed.slot = task.task_type_slot and kind.name = task.task_type
       and freed.slot > coalesce(kind.max_running_tasks, 0);
    update public.task_type_slots set task_id = null
     where task_type = task.task_type and slot = task.task_type_slot;
  end if;
  if task.slot is null then
    return;
  end if;
  perform public.lock_tenant(task.user_id);
  update public.task_slots set task_id = null where user_id = task.user_id and slot = task.slot;
  if task.project_slot is not null then
    delete from public.project_slots as freed
     using public.projects as project
     where freed.project_id = task.project_id and freed.slot = task.project_slot and project.id = task.project_id
       and freed.slot > coalesce(project.max_running_tasks, 0);
    update public.project_slots set task_id = null
     where project_id = task.project_id and slot = task.project_slot;
  end if;
  perform public.open_lanes(task.user_id);
end
$$;
revoke all on function public.free_slots from public, anon, authenticated;
