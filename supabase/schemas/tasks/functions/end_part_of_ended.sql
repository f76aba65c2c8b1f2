-- Ends a queued part of an orchestration that is over, before the outbox does, because a claim has met it. Waits for nobody: the
-- caller has the part's lock, and what follows from its end is left to the outbox.
create or replace function public.end_part_of_ended(part public.tasks, ended uuid)
returns void
language plpgsql set search_path = '' as $$
declare
  end_status constant public.task_status := (
    select case status when 'Failed' then 'Failed' else 'Cancelled' end from public.tasks where id = ended);
begin
  update public.tasks
     set status = end_status, is_scheduled = false, updated_at = now(),
         error_message = format('Cascaded %s from related task %s', lower(end_status::text), ended)
   where id = part.id;
  if part.is_orchestrator then
    perform public.settle_ended_orchestrator(part);
  end if;
  if exists (select from public.task_dependencies where dependency_id = part.id and is_waiting)
     or exists (select from public.tasks
                 where orchestrator_task_id = part.id and status in ('Queued', 'In Progress')) then
    insert into public.task_outbox (kind, subject_id, user_id, new_status, by_owner, origin_id)
    values ('end_relatives', part.id, part.user_id, end_status, end_status = 'Cancelled', ended);
  end if;
end
$$;
revoke all on function public.end_part_of_ended from public, anon, authenticated;
