-- A change that somebody writes into `tasks` itself, over REST: an autoscaler or a shipped worker that puts a task back
-- or ends it, a browser that cancels. The row becomes what update_task_status() would have made of it; the rest is
-- done by follow_direct_change(). Attempts are counted here, whatever the writer counted.
create or replace function public.plan_direct_change()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  wanted constant public.task_status := new.status;
  error constant text := case
    when new.error_details is distinct from old.error_details then new.error_details
    when new.error_message is distinct from old.error_message then new.error_message end;
  wanted_output constant text := new.output_location;
begin
  if wanted <> old.status and not (
       old.status = 'In Progress' and wanted = 'Queued' and auth.uid() is null
       or old.status in ('Queued', 'In Progress') and wanted = 'Failed' and auth.uid() is null
       or old.status in ('Queued', 'In Progress') and wanted = 'Cancelled') then
    perform public.refuse('invalid_transition', 409,
      public.status_details(old) || jsonb_build_object('requested_status', wanted));
  end if;
  new := old;
  new.updated_at := now();
  if error is not null then
    new.error_message := error;
    new.error_details := error;
  end if;
  if wanted = old.status then
    if auth.uid() is null then
      new.output_location := wanted_output;
    end if;
    return new;
  end if;

  new.slot := null;
  new.project_slot := null;
  new.task_type_slot := null;
  new.lease_expires_at := null;
  if wanted = 'Queued' then
    new.attempts := old.attempts + 1;
    if new.attempts < old.max_attempts then
      perform public.lock_tenant(old.user_id);
      new.status := 'Queued';
      new.ready_at := now();
      new.lane_id := public.lane_of_task(old);
      new.worker_id := null;
      new.claimed_by_owner := null;
      new.generation_started_at := null;
      new.progress := null;
      new.progress_message := null;
      return new;
    end if;
    new.error_message := coalesce(error, 'max_attempts_reached');
  end if;
  new.status := case wanted when 'Queued' then 'Failed' else wanted end;
  new.is_scheduled := false;
  new.is_following := false;
  return new;
end
$$;
revoke all on function public.plan_direct_change from public, anon, authenticated;
