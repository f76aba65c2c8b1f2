-- The open children of an orchestrator that was deleted would run without cover: they end. Their reference to it is gone
-- by now, so they are known by having no hold. Afterwards, and not before, for one statement may delete them all.
create or replace function public.end_uncovered_parts()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform public.end_task(part.id, 'Cancelled', 'orchestrator_deleted')
     from public.tasks as part
    where part.project_id = old.project_id and part.created_at >= old.created_at
      and part.status in ('Queued', 'In Progress') and part.in_cloud and part.orchestrator_task_id is null
      and not exists (select from public.credit_holds as hold where hold.task_id = part.id);
  return null;
end
$$;
revoke all on function public.end_uncovered_parts from public, anon, authenticated;
