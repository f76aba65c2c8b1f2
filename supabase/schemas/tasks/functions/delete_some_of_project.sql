-- Ends up to so many open tasks of a project that is being deleted; when none is open, removes as many rows; at last the project.
create or replace function public.delete_some_of_project(
  for_project uuid, at_most integer, out did integer, out is_done boolean
)
language plpgsql set search_path = '' as $$
declare
  started constant timestamptz := clock_timestamp();
  next_id uuid;
begin
  did := 0;
  is_done := false;
  if not exists (select from public.projects where id = for_project and deleted_at is not null) then
    is_done := true;
    return;
  end if;
  for next_id in
    select id from public.tasks where project_id = for_project and status in ('Queued', 'In Progress')
     order by is_orchestrator desc, id limit at_most
  loop
    exit when clock_timestamp() > started + interval '100 ms';
    perform public.end_task(next_id, 'Cancelled', 'project_deleted');
    did := did + 1;
  end loop;
  if did > 0 then
    return;
  end if;
  delete from public.tasks where id in (select id from public.tasks where project_id = for_project limit least(at_most, 100));
  get diagnostics did = row_count;
  if did = 0 then
    delete from public.archived_tasks
     where id in (select id from public.archived_tasks where project_id = for_project limit least(at_most, 200));
    get diagnostics did = row_count;
  end if;
  if did = 0 then
    delete from public.generations
     where id in (select id from public.generations where project_id = for_project limit least(at_most, 100));
    get diagnostics did = row_count;
  end if;
  if did = 0 then
    delete from public.projects where id = for_project;
    did := 1;
    is_done := true;
  end if;
end
$$;
revoke all on function public.delete_some_of_project from public, anon, authenticated;
