-- How many workers are wanted now, by run type and model: those that run something, and as many more as finish the
-- claimable tasks within the target wait, given their observed run times. Never more than one a task, never fewer
-- than one where a task waits; where no run has been seen, one a task. Between the bounds.
create or replace function public.scale(
  for_run_type text default null, for_model text default null, target_wait_seconds integer default 60,
  min_workers integer default 0, max_workers integer default 100
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  parts jsonb;
  total integer;
  wanted integer;
begin
  with lanes as (
    select lane.*, count.ready as ready
      from public.task_lanes as lane, lateral public.lane_count(lane.id) as count
     where lane.is_open and (for_run_type is null or lane.run_type = for_run_type)
       and (for_model is null or lane.model = for_model)
  ), shares as (
    -- What a user can run now is shared out over their lanes: a long backlog behind five slots wants five workers.
    select lane.*, case when lane.is_orchestrator then lane.ready else greatest(0, least(lane.ready,
             (select count(*) from public.task_slots as slot where slot.user_id = lane.user_id and slot.task_id is null)
             - coalesce(sum(lane.ready) over (partition by lane.user_id, lane.is_orchestrator order by lane.id
                                              rows between unbounded preceding and 1 preceding), 0))) end as claimable
      from lanes as lane
  ), queued as (
    select run_type, model, sum(claimable)::integer as claimable, sum(ready)::integer as ready,
           min(oldest_ready_at) as oldest_ready_at, array_agg(distinct task_type) as types
      from shares where ready > 0 group by run_type, model
  ), running as (
    select run_type, coalesce(model, '') as model, count(*)::integer as tasks
      from public.tasks
     where status = 'In Progress' and not coalesce(claimed_by_owner, false) and not is_orchestrator
       and (for_run_type is null or run_type = for_run_type) and (for_model is null or coalesce(model, '') = for_model)
     group by 1, 2
  ), models as (
    select coalesce(queued.run_type, running.run_type) as run_type, coalesce(queued.model, running.model) as model,
           coalesce(queued.claimable, 0) as claimable, coalesce(queued.ready, 0) as ready,
           coalesce(running.tasks, 0) as running, queued.oldest_ready_at, runs.samples, runs.mean
      from queued full join running on running.run_type = queued.run_type and running.model = queued.model
      left join lateral public.run_time_statistics(queued.types, queued.model) as runs on true
  ), wants as (
    select *, running + case
        when claimable = 0 then 0
        when coalesce(samples, 0) = 0 then claimable
        else least(claimable, greatest(1, ceil(claimable * mean / target_wait_seconds))) end::integer as wanted
      from models
  ), by_run_type as (
    select run_type, sum(wants.wanted)::integer as wanted, sum(running)::integer as busy, sum(claimable)::integer as claimable,
           sum(ready)::integer as ready,
           jsonb_agg(jsonb_build_object(
             'model', model, 'wanted', wants.wanted, 'running', running, 'claimable', claimable, 'ready', ready,
             'oldest_wait_seconds', round(extract(epoch from now() - oldest_ready_at)),
             'mean_run_seconds', round(mean::numeric, 1),
             'expected_work_seconds', round((claimable * mean)::numeric, 1),
             'reason', case
               when claimable = 0 then 'only what runs'
               when coalesce(samples, 0) = 0 then 'no run times seen yet: a worker a task'
               when ceil(claimable * mean / target_wait_seconds) >= claimable then 'a worker a task meets the target wait'
               else 'enough to finish within the target wait' end) order by wants.wanted desc, model) as models
      from wants group by run_type
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'run_type', by_run_type.run_type, 'wanted', by_run_type.wanted, 'busy', busy, 'claimable', claimable,
           'ready', ready, 'models', by_run_type.models) order by by_run_type.run_type), '[]'),
         coalesce(sum(by_run_type.wanted), 0)
    into parts, total
    from by_run_type;
  wanted := greatest(min_workers, least(total, max_workers));
  return jsonb_build_object(
    'value', wanted, 'wanted_workers', wanted, 'unbounded', total,
    'target_wait_seconds', target_wait_seconds, 'min_workers', min_workers, 'max_workers', max_workers,
    'reason', case when total > max_workers then 'max_workers' when total < min_workers then 'min_workers' else 'work' end,
    'by_run_type', parts);
end
$$;
revoke all on function public.scale from public, anon, authenticated;
grant execute on function public.scale to service_role;
