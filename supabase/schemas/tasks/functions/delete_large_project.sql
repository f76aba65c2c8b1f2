-- A person, or the service, deletes a project over REST. A small one goes with this statement; one with much in it is marked, which
-- hides it, and task_outbox ends its tasks and removes its rows in batches. Without this, the more a project has, the less
-- likely it could be deleted within a statement's time.
create or replace function public.delete_large_project()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  few constant integer := (select direct_cascade from public.queue_settings);
begin
  if old.deleted_at is null then
    if (select count(*) from (
          select from public.tasks where project_id = old.id and status in ('Queued', 'In Progress') limit few + 1) as one) <= few
       and (select count(*) from (select from public.tasks where project_id = old.id limit 201) as one) <= 200
       and (select count(*) from (select from public.archived_tasks where project_id = old.id limit 201) as one) <= 200
       and (select count(*) from (select from public.generations where project_id = old.id limit 201) as one) <= 200 then
      return old;
    end if;
    update public.projects set deleted_at = now() where id = old.id;
    insert into public.task_outbox (kind, subject_id, user_id) values ('delete_project', old.id, old.user_id);
  end if;
  return null;
end
$$;
revoke all on function public.delete_large_project from public, anon, authenticated;
