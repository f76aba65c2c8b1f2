-- Where a queued task stands, and when it may start: its place among its owner's tasks, the tasks that are likely to
-- be served before it when users take turns, and from the workers there are and the run times seen so far the time
-- until then, at even odds (p50) and nine times in ten (p90). What is not known is null, with the reason. `waits_for` says what may
-- take it: a worker, FAL or either. How many tasks FAL runs at once is not known, so what is left to it has no estimate.
create or replace function public.queue_position(for_user uuid, for_task uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  bound constant integer := 1000;
  task public.tasks;
  tenant public.task_tenants;
  own_ahead integer;
  others_ahead integer;
  ahead integer;
  free_slots integer;
  workers record;
  worker_count integer;
  runs record;
  wait_mean double precision;
  wait_deviation double precision;
  reason text;
  estimate jsonb;
  is_cloud boolean;
  settings public.queue_settings;
  worker_may boolean;
  -- In how many seconds FAL may take it; null: never.
  fal_seconds double precision;
begin
  select * into task from public.tasks where id = for_task and (for_user is null or user_id = for_user);
  if not found then
    -- In the archive, or nowhere: then this refuses.
    select seen.id, seen.status, seen.run_after into task.id, task.status, task.run_after
      from public.find_task(for_user, for_task) as seen;
  end if;
  if task.status <> 'Queued' then
    return jsonb_build_object(
      'task_id', task.id, 'status', task.status, 'position', null, 'position_is_bound', false, 'tasks_ahead', null,
      'estimated_start_seconds', null, 'waits_for', null, 'fal_takes_it_in_seconds', null, 'reason', case when task.status = 'In Progress' then 'running' else 'ended' end,
      'run_after', task.run_after, 'based_on', null);
  end if;
  select * into tenant from public.task_tenants where user_id = task.user_id;
  select count(*) into free_slots from public.task_slots where user_id = task.user_id and task_id is null;

  -- One's own tasks before it, in the order of claims; counted up to the bound.
  select count(*) into own_ahead from (
    select from public.task_lanes as lane,
         lateral (select from public.tasks as other
                   where other.lane_id = lane.id and other.status = 'Queued' and other.unmet_dependencies = 0
                     and not other.is_scheduled
                     and (other.priority > task.priority
                          or other.priority = task.priority
                             and (other.created_at, other.id) < (task.created_at, task.id))
                   order by other.priority desc, other.created_at, other.id limit bound) as before
     where lane.user_id = task.user_id and lane.is_ready and lane.run_type = task.run_type
       and lane.in_cloud = task.in_cloud and lane.is_orchestrator = task.is_orchestrator
     limit bound) as mine;
  -- Each other user is served once a round, as long as they have tasks.
  select coalesce(sum(least(queue.ready, own_ahead + 1)), 0) into others_ahead
    from public.queue_of_users(null, array[task.run_type::text]) as queue
   where task.in_cloud and queue.user_id <> task.user_id and queue.allowed;
  ahead := own_ahead + others_ahead;

  is_cloud := task.in_cloud and tenant.allows_cloud;
  select * into settings from public.queue_settings;
  worker_may := not is_cloud or task.task_type = any (public.own_worker_types());
  if is_cloud and public.fal_is_active(settings)
     and exists (select from public.task_types where name = task.task_type and 'fal' = any (runners)) then
    fal_seconds := case
      when settings.fal_runs = 'all' or not worker_may or exists (select from public.provider_jobs where task_id = task.id)
        then 0
      else greatest(0, extract(epoch from task.ready_at + settings.fal_after - now())) end;
  end if;
  select * into workers from public.active_workers(
    task.run_type, case when not is_cloud then task.user_id end,
    case when is_cloud then array['fal'] else '{}' end
      || case when is_cloud and task.task_type <> all ((public.provider_task_types('sandbox', null, null)).types)
              then array['sandbox'] else '{}' end);
  worker_count := workers.busy + workers.idle;
  select * into runs from public.run_time_statistics(
    case when ahead = 0 then array[task.task_type]
         else public.claimable_task_types(array[task.run_type::text], null) end, null);

  reason := case
    when task.is_following then 'shares_run'
    when task.unmet_dependencies > 0 then 'blocked_by_dependency'
    when task.is_scheduled then 'scheduled'
    when task.in_cloud and not tenant.allows_cloud and not tenant.allows_local then 'generation_is_off'
    when not task.in_cloud and not tenant.allows_local then 'local_off'
    when fal_seconds = 0 and (not worker_may or worker_count = 0) then 'left_to_fal'
    when worker_count = 0 then 'no_workers'
    when runs.samples = 0 and (ahead > 0 or workers.idle = 0) then 'no_run_times_yet' end;
  if reason is null then
    -- Tasks ahead pass through all workers; one's own through no more of them than slots. A busy worker is half
    -- through its task on average.
    wait_mean := greatest(ahead::double precision / worker_count,
                          case when task.is_orchestrator then 0
                               else own_ahead::double precision / least(worker_count, 5) end) * coalesce(runs.mean, 0)
      + case when ahead >= workers.idle or (free_slots = 0 and not task.is_orchestrator)
             then coalesce(runs.mean, 0) / 2 else 0 end;
    wait_deviation := sqrt(ahead + 1) * coalesce(runs.deviation, 0) / worker_count;
    estimate := jsonb_build_object(
      'p50', round(wait_mean::numeric, 1),
      'p90', round((wait_mean + 1.2816 * wait_deviation)::numeric, 1));
  end if;
  return jsonb_build_object(
    'task_id', task.id, 'status', task.status,
    'position', own_ahead + 1, 'position_is_bound', own_ahead >= bound,
    'tasks_ahead', ahead, 'estimated_start_seconds', estimate,
    'waits_for', case when fal_seconds is null or fal_seconds > 0 then 'worker'
                      when worker_may and worker_count > 0 then 'worker_or_fal' else 'fal' end,
    'fal_takes_it_in_seconds', round(fal_seconds::numeric, 1),
    'reason', coalesce(reason, case when free_slots = 0 and not task.is_orchestrator then 'at_capacity' end),
    'run_after', task.run_after,
    'based_on', jsonb_build_object(
      'busy_workers', workers.busy, 'idle_workers', workers.idle, 'free_slots', free_slots,
      'run_time_samples', runs.samples, 'run_time_p50_seconds', round(runs.p50::numeric, 1),
      'run_time_p90_seconds', round(runs.p90::numeric, 1)));
end
$$;
revoke all on function public.queue_position from public, anon, authenticated;
grant execute on function public.queue_position to service_role;
