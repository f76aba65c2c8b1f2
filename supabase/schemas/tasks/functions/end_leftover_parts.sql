-- Ends the parts that a complete orchestrator leaves behind: some at once, and all that run; task_outbox has the rest. They would
-- run without cover, for its hold ends here. With the owner's own worker, that is the owner's doing.
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
    perform public.end_task(part, 'Cancelled', 'orchestrator_finished', by_owner => orchestrator.claimed_by_owner);
  end loop;
  foreach part in array public.running_parts_of_ended(orchestrator.user_id) loop
    perform public.end_task(part, 'Cancelled', 'orchestrator_finished', by_owner => orchestrator.claimed_by_owner);
  end loop;
  if exists (select from public.tasks
              where orchestrator_task_id = orchestrator.id and status in ('Queued', 'In Progress')) then
    insert into public.task_outbox (kind, subject_id, user_id, new_status, by_owner, origin_id)
    values ('end_relatives', orchestrator.id, orchestrator.user_id, 'Cancelled', orchestrator.claimed_by_owner, orchestrator.id);
  end if;
end
$$;
revoke all on function public.end_leftover_parts from public, anon, authenticated;
