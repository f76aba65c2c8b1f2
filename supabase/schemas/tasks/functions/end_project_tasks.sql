-- A project that is deleted ends its tasks first: what is finished is paid while its rows are still there.
create or replace function public.end_project_tasks()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  open_task uuid;
begin
  for open_task in
    select id from public.tasks where project_id = old.id and status in ('Queued', 'In Progress')
     order by is_orchestrator desc, id
  loop
    perform public.end_task(open_task, 'Cancelled', 'project_deleted');
  end loop;
  return old;
end
$$;
revoke all on function public.end_project_tasks from public, anon, authenticated;
