-- Notes a running task's progress and keeps it with its worker. Shown live at most twice a second a task.
-- A worker that names its attempt has shown that it heartbeats.
create or replace function public.report_progress(task public.tasks, names_attempt boolean, changes jsonb)
returns void
language plpgsql set search_path = '' as $$
begin
  if names_attempt then
    -- Whoever finds the row locked leaves the note to the one who holds it: a worker's row is locked before its
    -- tasks, so nobody may wait for one while holding the other.
    update public.workers set heartbeats = true, last_heartbeat = now()
     where id = (
       select id from public.workers
        where id = public.worker_row_id(task.worker_id, case when task.claimed_by_owner then task.user_id end)
          and (not heartbeats or last_heartbeat is null or last_heartbeat < now() - interval '10 seconds')
          for no key update skip locked);
  end if;
  update public.tasks
     set progress = coalesce((changes ->> 'progress')::real, task.progress),
         progress_message = coalesce(changes ->> 'progress_message', task.progress_message),
         output_location = coalesce(changes ->> 'output_location', task.output_location),
         generation_started_at = case when (changes ->> 'reset_generation_started_at')::boolean
           then now() else task.generation_started_at end,
         covered_until = case when (changes ->> 'reset_generation_started_at')::boolean
           then now() + (task.covered_until - task.generation_started_at) else task.covered_until end,
         progress_shown_at = case
           when changes ?| array['progress', 'progress_message', 'output_location']
            and (task.progress_shown_at is null or task.progress_shown_at <= clock_timestamp() - interval '500 milliseconds')
           then clock_timestamp() else task.progress_shown_at end,
         lease_expires_at = now() + public.lease_duration(task.task_type, names_attempt or coalesce(
           (select heartbeats from public.workers where id = public.worker_row_id(task.worker_id, case when task.claimed_by_owner then task.user_id end)), false)),
         updated_at = now()
   where id = task.id;
  if task.covered_until < now() + public.hold_check_ahead() then
    perform public.grow_hold(task.id);
  end if;
end
$$;
revoke all on function public.report_progress from public, anon, authenticated;
