-- A task that waited for one that was deleted can never run. One that was complete, and whose dependants the outbox has not
-- released yet, releases them.
create or replace function public.fail_orphaned_dependant()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  dependant public.tasks;
begin
  select * into dependant from public.tasks where id = old.task_id and status = 'Queued' for no key update;
  if not found then
    return null;
  end if;
  if exists (select from public.task_outbox where subject_id = old.dependency_id and kind = 'release_dependants') then
    update public.tasks set unmet_dependencies = unmet_dependencies - 1, ready_at = now() where id = dependant.id;
    if dependant.unmet_dependencies = 1 and not dependant.is_scheduled then
      perform public.lock_tenant(dependant.user_id);
      perform public.ready_lane(dependant.lane_id, now());
    end if;
  else
    perform public.end_task(dependant.id, 'Failed', 'dependency_failed', by_owner => true);
  end if;
  return null;
end
$$;
revoke all on function public.fail_orphaned_dependant from public, anon, authenticated;
