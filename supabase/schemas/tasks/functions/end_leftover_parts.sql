-- Ends the parts that a complete orchestrator leaves behind: some at once, and all that run; task_outbox has the rest. They would
-- run without cover, for its hold ends here.
create or replace function public.end_leftover_parts(orchestrator public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  part uuid;
begin
  for part in
    select id from public.tasks
     where orchestrator_task_id = orchestrator.id and status in ('Queued', 'In Progress')
     order by created_at, id limit (select direct_cascade from public.queue_settings)
  loop
    perform public.end_task(part, 'Cancelled', 'orchestrator_finished');
  end loop;
  foreach part in array public.running_parts_of_ended(orchestrator.user_id) loop
    perform public.end_task(part, 'Cancelled', 'orchestrator_finished');
  end loop;
  if exists (select from public.tasks
              where orchestrator_task_id = orchestrator.id and status in ('Queued', 'In Progress')) then
    insert into public.task_outbox (kind, subject_id, user_id, new_status, origin_id)
    values ('end_relatives', orchestrator.id, orchestrator.user_id, 'Cancelled', orchestrator.id);
  end if;
end
$$;
revoke all on function public.end_leftover_parts from public, anon, authenticated;
