-- The users with work in these run types, with what a claim could take of it now. For everybody (null) those of the
-- cloud: lanes that are open, or ready and closed; a token's owner alone, with all their lanes.
-- `claimable` is what could run at once: the ready tasks, but no more than free slots of the user (and of the project,
-- where it is limited); orchestrators need none. Types at their limit count as at capacity, and so do `without_types`.
create or replace function public.queue_of_users(for_user uuid, run_types text[], without_types text[] default '{}')
returns table (
  user_id uuid, allowed boolean, free_slots integer, ready integer, ready_orchestrators integer, blocked integer,
  scheduled integer, running integer, running_orchestrators integer, claimable integer
)
language plpgsql stable set search_path = '' as $$
declare
  types constant text[] := array(
    select name from unnest(public.claimable_task_types(run_types, null)) as kind (name) where name <> all (without_types));
begin
  return query
    with lanes as (
      select lane.* from public.task_lanes as lane
       where for_user is null and lane.is_open and lane.run_type = any (run_types)
      union all
      select lane.* from public.task_lanes as lane
       where for_user is null and lane.is_ready and not lane.is_open and lane.run_type = any (run_types)
         and lane.in_cloud
      union all
      select lane.* from public.task_lanes as lane
       where for_user is null and not lane.is_ready and lane.run_type = any (run_types) and lane.in_cloud
         and lane.id in (select waiting.lane_id from public.task_counts as waiting
                          where waiting.blocked <> 0 or waiting.scheduled <> 0
                         union
                         select task.lane_id from public.tasks as task where task.status = 'In Progress')
      union all
      select lane.* from public.task_lanes as lane
       where lane.user_id = for_user and lane.run_type = any (run_types)
    ), counted as (
      select lane.user_id, lane.project_id, lane.is_orchestrator, lane.task_type = any (types) as has_type_slot,
             count.ready, count.blocked, count.scheduled, count.running
        from lanes as lane, lateral public.lane_count(lane.id) as count
    ), by_project as (
      select counted.user_id,
             sum(counted.ready) filter (where not is_orchestrator)::integer as ready,
             sum(counted.ready) filter (where is_orchestrator)::integer as ready_orchestrators,
             sum(counted.ready) filter (where is_orchestrator and has_type_slot)::integer as claimable_orchestrators,
             sum(counted.blocked)::integer as blocked, sum(counted.scheduled)::integer as scheduled,
             sum(counted.running) filter (where not is_orchestrator)::integer as running,
             sum(counted.running) filter (where is_orchestrator)::integer as running_orchestrators,
             least(sum(counted.ready) filter (where not is_orchestrator and has_type_slot),
                   case when counted.project_id is not null then (
                     select count(*) from public.project_slots as slot
                      where slot.project_id = counted.project_id and slot.task_id is null) end)::integer as claimable
        from counted group by counted.user_id, counted.project_id
    ), by_user as (
      select by_project.user_id, coalesce(sum(by_project.ready), 0)::integer as ready,
             coalesce(sum(by_project.ready_orchestrators), 0)::integer as ready_orchestrators,
             coalesce(sum(by_project.claimable_orchestrators), 0)::integer as claimable_orchestrators,
             coalesce(sum(by_project.blocked), 0)::integer as blocked,
             coalesce(sum(by_project.scheduled), 0)::integer as scheduled,
             coalesce(sum(by_project.running), 0)::integer as running,
             coalesce(sum(by_project.running_orchestrators), 0)::integer as running_orchestrators,
             coalesce(sum(by_project.claimable), 0)::integer as claimable
        from by_project group by by_project.user_id
    )
    select by_user.user_id, place.allowed, place.free_slots, by_user.ready, by_user.ready_orchestrators,
           by_user.blocked, by_user.scheduled, by_user.running, by_user.running_orchestrators,
           case when place.allowed
             then least(by_user.claimable, place.free_slots) + by_user.claimable_orchestrators else 0 end
      from by_user,
           lateral (select case when for_user is null then tenant.allows_cloud else tenant.allows_local end as allowed,
                           (select count(*)::integer from public.task_slots as slot
                             where slot.user_id = by_user.user_id and slot.task_id is null) as free_slots
                      from public.task_tenants as tenant where tenant.user_id = by_user.user_id) as place
     where by_user.ready + by_user.ready_orchestrators + by_user.blocked + by_user.scheduled + by_user.running
           + by_user.running_orchestrators > 0;
end
$$;
revoke all on function public.queue_of_users from public, anon, authenticated;
