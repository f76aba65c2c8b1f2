-- How many workers are wanted now, by run type and model: those that run something, and as many more as finish the
-- claimable tasks within the target wait. A task takes as much of a worker as its mean run time is of that wait, at
-- most one; one whose run time nobody has seen, a whole one. Of a user's tasks the longest fill the free slots, so
-- that more work never wants fewer workers. Never fewer than one where a task waits. Between the bounds.
-- What is left to FAL wants none: see fal_only_types(). What FAL runs because no own worker was there counts as work for one.
create or replace function public.scale(
  for_run_type text default null, for_model text default null, target_wait_seconds integer default 60,
  min_workers integer default 0, max_workers integer default 100
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  parts jsonb;
  total integer;
  wanted integer;
  fal_types constant text[] := public.fal_only_types();
  fal jsonb;
begin
  with lanes as (
    select lane.*, count.ready
      from public.task_lanes as lane, lateral public.lane_count(lane.id) as count
     where lane.is_open and (for_run_type is null or lane.run_type = for_run_type)
       and (for_model is null or lane.model = for_model) and count.ready > 0 and lane.task_type <> all (fal_types)
  ), kinds as (
    select kind.task_type, kind.model, runs.mean, runs.samples
      from (select distinct task_type, model from lanes) as kind,
           lateral public.run_time_statistics(array[kind.task_type], kind.model) as runs
  ), shares as (
    select lanes.*, kinds.mean, coalesce(least(kinds.mean, target_wait_seconds), target_wait_seconds) as seconds,
           case when lanes.is_orchestrator then lanes.ready else greatest(0, least(lanes.ready,
             (select count(*) from public.task_slots as slot
               where slot.user_id = lanes.user_id and slot.task_id is null)
             - coalesce(sum(lanes.ready) over (
                 partition by lanes.user_id, lanes.is_orchestrator
                 order by coalesce(least(kinds.mean, target_wait_seconds), target_wait_seconds) desc, lanes.id
                 rows between unbounded preceding and 1 preceding), 0))) end as claimable
      from lanes join kinds on kinds.task_type = lanes.task_type and kinds.model = lanes.model
  ), queued as (
    select run_type, model, sum(claimable)::integer as claimable, sum(ready)::integer as ready,
           min(oldest_ready_at) as oldest_ready_at, sum(claimable * seconds) / target_wait_seconds as work,
           sum(claimable * mean) as expected_seconds, avg(mean) as mean, bool_or(mean is null) as is_unknown
      from shares group by run_type, model
  ), running as (
    select run_type, coalesce(model, '') as model, count(*)::integer as tasks
      from public.tasks
     where status = 'In Progress' and not coalesce(claimed_by_owner, false) and not is_orchestrator
       and (for_run_type is null or run_type = for_run_type) and (for_model is null or coalesce(model, '') = for_model)
       and not (task_type = any (fal_types)
                and exists (select from public.workers as worker where worker.id = tasks.worker_id and worker.provider = 'fal'))
     group by 1, 2
  ), models as (
    select coalesce(queued.run_type, running.run_type) as run_type, coalesce(queued.model, running.model) as model,
           coalesce(queued.claimable, 0) as claimable, coalesce(queued.ready, 0) as ready,
           coalesce(running.tasks, 0) as running, coalesce(queued.work, 0) as work,
           queued.oldest_ready_at, queued.expected_seconds, queued.mean, queued.is_unknown
      from queued full join running on running.run_type = queued.run_type and running.model = queued.model
  ), by_run_type as (
    select run_type, sum(running)::integer as busy, sum(claimable)::integer as claimable, sum(ready)::integer as ready,
           -- Rounded once, over all models: a worker serves more than one.
           (sum(running) + greatest(ceil(round(sum(work)::numeric, 6)), sign(sum(claimable))))::integer as wanted,
           jsonb_agg(jsonb_build_object(
             'model', model,
             'wanted', running + greatest(ceil(round(work::numeric, 6)), sign(claimable)),
             'running', running, 'claimable', claimable, 'ready', ready,
             'oldest_wait_seconds', round(extract(epoch from now() - oldest_ready_at)),
             'mean_run_seconds', round(mean::numeric, 1),
             'expected_work_seconds', round(expected_seconds::numeric, 1),
             'reason', case
               when claimable = 0 then 'only what runs'
               when is_unknown then 'run times not seen yet: a worker a task'
               when work >= claimable then 'a worker a task, to meet the target wait'
               else 'enough to finish within the target wait' end) order by work desc, running desc, model) as models
      from models group by run_type
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'run_type', by_run_type.run_type, 'wanted', by_run_type.wanted, 'busy', busy, 'claimable', claimable,
           'ready', ready, 'models', by_run_type.models) order by by_run_type.run_type), '[]'),
         coalesce(sum(by_run_type.wanted), 0)
    into parts, total
    from by_run_type;
  select jsonb_build_object(
           'runs', settings.fal_runs, 'is_active', public.fal_is_active(settings),
           'left', (select coalesce(sum(count.ready), 0)
                      from public.task_lanes as lane, lateral public.lane_count(lane.id) as count
                     where lane.is_open and lane.task_type = any (fal_types)
                       and (for_run_type is null or lane.run_type = for_run_type) and (for_model is null or lane.model = for_model)),
           'running', (select count(*) from public.tasks as task
                         join public.workers as worker on worker.id = task.worker_id and worker.provider = 'fal'
                        where task.status = 'In Progress' and not task.claimed_by_owner
                          and (for_run_type is null or task.run_type = for_run_type)
                          and (for_model is null or coalesce(task.model, '') = for_model)))
    into fal
    from public.queue_settings as settings;
  wanted := greatest(min_workers, least(total, max_workers));
  return jsonb_build_object(
    'value', wanted, 'wanted_workers', wanted, 'unbounded', total,
    'target_wait_seconds', target_wait_seconds, 'min_workers', min_workers, 'max_workers', max_workers,
    'reason', case when total > max_workers then 'max_workers' when total < min_workers then 'min_workers' else 'work' end,
    'by_run_type', parts, 'fal', fal);
end
$$;
revoke all on function public.scale from public, anon, authenticated;
grant execute on function public.scale to service_role;
