-- Takes the lane's first task and a free slot of its user (and of its project and type, where they have a limit),
-- skipping what others have locked. Null when there is no such set; then the lane is closed if that is so for good.
-- The lease is the type's longest run, unless the worker is one that heartbeats.
-- With `late_before` it takes what has been ready since then, or what its provider has begun. With `skip_jobs_of` it leaves that
-- provider the tasks that this has begun: another run would be paid twice.
create or replace function public.claim_from_lane(
  lane public.task_lanes, for_worker text, by_owner boolean, heartbeat_lease interval, affinity_max_wait interval,
  late_before timestamptz, skip_jobs_of text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  -- Of the lane's type: its limit and longest run; and a free slot of the user, but for an orchestrator.
  terms record;
  head public.tasks;
  ended uuid;
  free_project_slot smallint;
  free_type_slot smallint;
  task public.tasks;
begin
  select kind.max_running_tasks, kind.max_runtime_seconds,
         case when not lane.is_orchestrator then (
           select slot from public.task_slots
            where user_id = lane.user_id and task_id is null order by slot limit 1 for update skip locked) end as free_slot
    into terms
    from public.task_types as kind where kind.name = lane.task_type;
  if terms.free_slot is null and not lane.is_orchestrator then
    perform public.close_lane_if_idle(lane.id);
    return null;
  end if;
  if lane.project_id is not null and not lane.is_orchestrator then
    select slot into free_project_slot from public.project_slots
     where project_id = lane.project_id and task_id is null order by slot limit 1 for update skip locked;
    if not found then
      perform public.close_lane_if_idle(lane.id);
      return null;
    end if;
  end if;
  if terms.max_running_tasks is not null then
    select slot into free_type_slot from public.task_type_slots
     where task_type = lane.task_type and task_id is null order by slot limit 1 for update skip locked;
    if not found then
      return null;
    end if;
  end if;

  -- Parts of orchestrations that are over end here; the outbox has not reached them yet.
  for look in 1 .. 16 loop
    ended := null;
    if skip_jobs_of is null then
      select * into head from public.tasks
       where lane_id = lane.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
       order by priority desc, created_at, id limit 1 for no key update skip locked;
    else
      -- Passes over those alone that a run at the provider left behind: a user has five slots.
      select * into head from public.tasks
       where lane_id = lane.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
         and not exists (select from public.provider_jobs as job
                          where job.task_id = tasks.id and job.provider = skip_jobs_of and not job.by_owner)
       order by priority desc, created_at, id limit 1 for no key update skip locked;
    end if;
    exit when not found or head.orchestrator_task_id is null;
    ended := public.ended_orchestrator(head.orchestrator_task_id);
    exit when ended is null;
    if exists (select from public.provider_jobs where task_id = head.id)
       or exists (select from public.task_provider_costs where task_id = head.id) then
      -- Its end may cost something, which end_task() knows and counts under the lock of the account; the outbox calls that.
      return null;
    end if;
    perform public.end_part_of_ended(head, ended);
  end loop;
  if ended is not null then
    -- Others may follow. Another claim, or the outbox, goes on with them.
    return null;
  end if;

  if head.ready_at > late_before
     and not exists (select from public.provider_jobs as job where job.task_id = head.id and job.by_owner = claim_from_lane.by_owner) then
    update public.task_lanes set is_late = false, waits_since = head.ready_at
     where id = (select id from public.task_lanes where id = lane.id and is_late for no key update skip locked);
    return null;
  end if;

  update public.tasks
     set status = 'In Progress', attempt = attempt + 1,
         worker_id = coalesce(for_worker, 'edge_' || gen_random_uuid()), claimed_by_owner = by_owner,
         slot = terms.free_slot, project_slot = free_project_slot, task_type_slot = free_type_slot,
         generation_started_at = now(), updated_at = now(),
         progress = null, progress_message = null, error_message = null, error_details = null,
         lease_expires_at = now() + coalesce(heartbeat_lease, make_interval(secs => terms.max_runtime_seconds)),
         covered_until = case when not by_owner then now() + make_interval(secs => covered_seconds) end
   -- By its id: the place of a row that was changed just now is not yet known to this statement.
   where id = head.id
  returning * into task;
  if not found then
    perform public.close_lane_if_idle(lane.id);
    return null;
  end if;
  if terms.free_slot is not null then
    update public.task_slots set task_id = task.id where user_id = lane.user_id and slot = terms.free_slot;
    if free_project_slot is not null then
      update public.project_slots set task_id = task.id
       where project_id = lane.project_id and slot = free_project_slot;
    end if;
  end if;
  if free_type_slot is not null then
    update public.task_type_slots set task_id = task.id where task_type = lane.task_type and slot = free_type_slot;
  end if;
  perform public.pass_turn(lane, affinity_max_wait);

  return jsonb_build_object(
    'task_id', task.id, 'params', public.params_of_run(task.task_type, task.params, task.billed),
    'billed', task.billed, 'task_type', task.task_type, 'project_id', task.project_id,
    'attempt', task.attempt, 'attempts', task.attempts, 'lease_expires_at', task.lease_expires_at)
    || case when exists (select from public.provider_jobs where task_id = task.id)
         then coalesce(public.known_provider_jobs(task), '{}') else '{}' end;
end
$$;
revoke all on function public.claim_from_lane from public, anon, authenticated;
