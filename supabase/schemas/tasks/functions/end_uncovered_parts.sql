-- The open children of an orchestrator that was deleted would run without cover: they end. It was open, or the outbox had not
-- ended them yet. Their reference to it is gone
-- by now, so they are known by having no hold. Afterwards, and not before, for one statement may delete them all.
create or replace function public.end_uncovered_parts()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if old.status not in ('Queued', 'In Progress')
     and not exists (select from public.task_outbox where subject_id = old.id and kind = 'end_relatives') then
    return null;
  end if;
  perform public.end_task(part.id, 'Cancelled', 'orchestrator_deleted')
     from public.tasks as part
    where part.project_id = old.project_id and part.created_at >= old.created_at
      and part.status in ('Queued', 'In Progress') and part.in_cloud and part.orchestrator_task_id is null
      and not exists (select from public.credit_holds as hold where hold.task_id = part.id);
  return null;
end
$$;
revoke all on function public.end_uncovered_parts from public, anon, authenticated;
