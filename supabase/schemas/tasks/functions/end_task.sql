-- Fails or cancels a task, and with it whoever cannot go on: its orchestrator, the orchestrator's other
-- children, and all who depend on any of them. Rows that have ended stay as they are.
-- Charges nothing but an orchestrator's finished children; every other hold is released.
create or replace function public.end_task(for_task uuid, new_status public.task_status, error text)
returns void
language plpgsql set search_path = '' as $$
declare
  relatives uuid[] := array[for_task];
  dependants uuid[] := '{}';
  ended uuid[];
  orchestrators uuid[] := '{}';
  task public.tasks;
begin
  loop
    ended := '{}';
    for task in
      select * from public.tasks
       where id = any (relatives || dependants) and status in ('Queued', 'In Progress')
       order by id for no key update
    loop
      update public.tasks
         set status = case when task.id = any (relatives) then new_status else 'Failed' end,
             error_message = case
               when task.id = for_task then error
               when task.id = any (relatives)
               then format('Cascaded %s from related task %s', lower(new_status::text), for_task)
               else 'dependency_failed' end,
             slot = null, project_slot = null, task_type_slot = null, lease_expires_at = null, is_scheduled = false,
             updated_at = now()
       where id = task.id;
      perform public.free_slots(task);
      if task.is_orchestrator then
        orchestrators := orchestrators || task.id;
      elsif task.orchestrator_task_id is null then
        perform public.close_hold(task.id, 0);
      end if;
      ended := ended || task.id;
    end loop;
    exit when cardinality(ended) = 0;
    select coalesce(array_agg(related.id), '{}') into relatives
      from (select id from public.tasks where orchestrator_task_id = any (ended)
            union
            select orchestrator_task_id from public.tasks where id = any (ended)) as related;
    select coalesce(array_agg(distinct waiting.task_id), '{}') into dependants
      from public.task_dependencies as waiting where waiting.dependency_id = any (ended);
  end loop;

  -- Last, when no child can finish any more.
  for task in select * from public.tasks where id = any (orchestrators) loop
    perform public.settle_ended_orchestrator(task);
  end loop;
end
$$;
revoke all on function public.end_task from public, anon, authenticated;
