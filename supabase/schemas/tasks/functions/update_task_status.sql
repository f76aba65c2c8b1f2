-- Moves a task by the transition table: progress and completion by its worker, failing, requeueing,
-- cancelling, retrying. `caller_kind`: service, personal-access-token or user; a user (a browser) may only
-- cancel and retry. `changes` holds the optional fields of the request as they came. `output_path` is the file of our storage that
-- `output_location` names, if it does; `checked_files` as in complete_task().
-- Guarantee: a report that ends a run takes effect once. The same report by the same worker or attempt gets the first answer
-- again, also when the task was queued again or claimed by another since; every other report on that run is 409.
-- A job at a provider that would cost more than the task is charged, or that is beyond what a user's tasks may cost unpaid, fails the
-- task; the answer is then {refused, details}.
create or replace function public.update_task_status(
  for_user uuid, caller_kind text, for_task uuid, new_status public.task_status,
  for_worker text default null, for_attempt integer default null, changes jsonb default '{}',
  output_path text default null, checked_files jsonb default '{}'
) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  -- What names the run that it is about, so that it can be told from another worker's.
  is_fenced constant boolean := caller_kind <> 'user' and (for_worker is not null or for_attempt is not null);
  report constant bytea := case when is_fenced and new_status <> 'In Progress' then sha256(convert_to(
    jsonb_build_array(caller_kind, new_status, for_worker, for_attempt, changes)::text, 'UTF8')) end;
  -- Who ends it, where it ends: a worker's report that its run failed, or was cancelled, is not its owner's wish.
  is_owners constant boolean := caller_kind <> 'service' or new_status = 'Cancelled' and not is_fenced;
  task public.tasks;
  answer jsonb;
  refusal text;
  refusal_details text;
begin
  perform public.lock_orchestrators(for_task);
  select * into task from public.tasks
   where id = for_task and (for_user is null or user_id = for_user) for no key update;
  if not found then
    perform public.refuse_archived_change(for_user, caller_kind, for_task, new_status, for_worker, for_attempt);
  end if;

  if report is not null then
    answer := public.repeated_report(task, for_worker, for_attempt, report);
    if answer is not null then
      return answer;
    end if;
  end if;

  -- A worker's word counts only for the run it has; a task that waits has none.
  if (for_attempt is not null and (for_attempt <> task.attempt or task.status = 'Queued'))
     or (for_worker is not null and for_worker is distinct from task.worker_id) then
    perform public.refuse('stale_attempt', 409, public.status_details(task));
  end if;

  if caller_kind = 'user' and not (new_status = 'Cancelled' or (task.status = 'Failed' and new_status = 'Queued')) then
    perform public.refuse('forbidden', 403, jsonb_build_object('allowed', array['Cancelled', 'Queued']));
  end if;
  -- The run of a cloud worker is not its owner's to report on, nor the other way round; to end it is.
  if caller_kind <> 'user' and task.status in ('In Progress', 'Complete') and new_status <> 'Cancelled'
     and task.claimed_by_owner is distinct from (caller_kind = 'personal-access-token') then
    perform public.refuse('stale_attempt', 409, public.status_details(task));
  end if;

  -- Of the run's own worker alone: who could forget the job of a run would not pay for it.
  if changes ?| array['provider_job', 'ended_provider_steps', 'unbilled_provider_steps'] and caller_kind <> 'user' and task.status = 'In Progress'
     and task.claimed_by_owner = (caller_kind = 'personal-access-token') then
    perform public.release_provider_call(job.provider, job.request_id)
       from public.provider_jobs as job
      where job.task_id = task.id and not job.by_owner
        and job.step in (select value::smallint from jsonb_array_elements_text(coalesce(changes -> 'unbilled_provider_steps', '[]')));
    delete from public.provider_jobs
     where task_id = task.id and by_owner = task.claimed_by_owner
       and step in (select value::smallint from jsonb_array_elements_text(coalesce(changes -> 'ended_provider_steps', '[]')));
    if changes ? 'provider_job' then
      begin
        perform public.note_provider_job(task, changes -> 'provider_job');
      exception when sqlstate 'PT409' then
        get stacked diagnostics refusal = message_text, refusal_details = pg_exception_detail;
        -- Not raised, because the task fails with it: the caller is refused when that is committed.
        if refusal = 'sold_below_cost' then
          perform public.end_unprofitable_run(task, changes -> 'provider_job', refusal_details::jsonb);
        elsif refusal = 'unpaid_provider_limit' then
          perform public.end_unallowed_run(task, refusal_details::jsonb);
        else
          raise;
        end if;
        return jsonb_build_object('refused', refusal, 'details', refusal_details::jsonb);
      end;
    end if;
  end if;
  if task.status = 'Complete' and new_status = 'Complete' and changes ? 'output_location' then
    perform public.deliver_named_files(task.id, changes ->> 'output_location');
    -- Where the file is stays known, for a repeat of its completion.
    update public.tasks
       set output_location = changes ->> 'output_location', updated_at = now(),
           result_data = case when output_location ~* '^https?://[^[:space:]]+$' and not result_data ? 'public_url'
                              then result_data || jsonb_build_object('public_url', output_location)
                              else result_data end
     where id = task.id;
  elsif task.status = 'In Progress' and new_status = 'In Progress' then
    perform public.report_progress(task, for_attempt is not null, changes);
    if task.is_orchestrator and changes ?| array['output_location', 'progress_message'] then
      -- Its parts may have been done before it said that it had created them.
      perform public.close_orchestrator(task.id);
    end if;
  elsif task.status = 'In Progress' and new_status = 'Complete' then
    if output_path is not null then
      perform public.require_output(task, output_path, public.output_media(task.task_type), checked_files);
    end if;
    perform public.deliver_files(task, array[output_path]);
    perform public.deliver_named_files(task.id, changes ->> 'output_location');
    -- What an earlier report of progress wrote there is no output, and no reason for a charge.
    perform public.finish_task(task, nullif(changes ->> 'output_location', ''), task.thumbnail_url, null, null);
    if task.result_key is not null then
      perform public.release_followers(task.project_id, task.result_key, task.user_id);
    end if;
  elsif task.status = 'In Progress' and new_status = 'Queued' then
    if (changes ->> 'given_back')::boolean then
      perform public.give_task_back(task, changes ->> 'error_details');
    else
      perform public.requeue_task(task, changes ->> 'error_details');
    end if;
  elsif task.status = 'Failed' and new_status = 'Queued' then
    perform public.retry_task(task);
  elsif task.status in ('Queued', 'In Progress') and new_status in ('Failed', 'Cancelled') then
    if changes ? 'output_location' then
      update public.tasks set output_location = changes ->> 'output_location' where id = task.id;
    end if;
    perform public.end_task(
      task.id, new_status, coalesce(changes ->> 'error_details', changes ->> 'output_location'), by_owner => is_owners);
  elsif task.status = 'Cancelled' and caller_kind <> 'user' then
    perform public.refuse('task_cancelled', 409,
      public.status_details(task) || jsonb_build_object('requested_status', new_status));
  else
    perform public.refuse('invalid_transition', 409,
      public.status_details(task) || jsonb_build_object('requested_status', new_status));
  end if;
  select jsonb_build_object(
            'success', true, 'task_id', changed.id, 'status', changed.status,
            'previous_status', task.status, 'attempt', changed.attempt, 'attempts', changed.attempts,
            'lease_expires_at', changed.lease_expires_at,
            'cancellation', changed.result_data -> 'cancellation',
            'message', format('Task status updated to ''%s''', changed.status))
    into answer from public.tasks as changed where changed.id = task.id;
  if report is not null and task.status = 'In Progress' then
    insert into public.run_reports (task_id, attempt, request_hash, answer) values (task.id, task.attempt, report, answer);
  end if;
  return answer;
end
$$;
revoke all on function public.update_task_status from public, anon, authenticated;
grant execute on function public.update_task_status to service_role;
