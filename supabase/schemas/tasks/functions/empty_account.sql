-- Removes what the projects of a user have, a batch a call, before the user is deleted: the deletion itself is one transaction, and
-- must not take longer the more a user has. Their projects are marked as deleted, as delete_large_project() does, and task_outbox goes
-- on with them also when nobody calls again. Answers how many rows it changed, 0 when somebody else has what comes next, and
-- null when so little is left that it goes with the user. An account that is small from the beginning is left as it is.
create or replace function public.empty_account(for_user uuid)
returns integer
language plpgsql security definer set search_path = '' set lock_timeout = '200ms' as $$
declare
  own constant uuid[] := array(select id from public.projects where user_id = for_user);
  few constant integer := (select direct_cascade from public.queue_settings);
begin
  if (select count(*) from (
        select from public.tasks where project_id = any (own) and status in ('Queued', 'In Progress') limit few + 1) as one) <= few
     and (select count(*) from (select from public.tasks where project_id = any (own) limit 201) as one) <= 200
     and (select count(*) from (select from public.archived_tasks where project_id = any (own) limit 201) as one) <= 200
     and (select count(*) from (select from public.generations where project_id = any (own) limit 201) as one) <= 200 then
    return null;
  end if;
  update public.projects set deleted_at = now() where user_id = for_user and deleted_at is null;
  insert into public.task_outbox (kind, subject_id, user_id)
  select 'delete_project', id, user_id from public.projects
   where user_id = for_user
     and not exists (select from public.task_outbox where subject_id = projects.id and kind = 'delete_project');
  return public.run_outbox_of_user(for_user, 200);
exception when lock_not_available or deadlock_detected then
  return 0;
end
$$;
revoke all on function public.empty_account from public, anon, authenticated;
grant execute on function public.empty_account to service_role;
