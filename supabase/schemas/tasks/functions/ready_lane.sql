-- Says that a lane has a task that may run. The caller holds the tenant's lock.
create or replace function public.ready_lane(for_lane bigint, waiting_since timestamptz)
returns void
language sql set search_path = '' as $$
  update public.task_lanes as lane
     set is_ready = true,
         oldest_ready_at = case when lane.is_ready then least(lane.oldest_ready_at, waiting_since) else waiting_since end,
         is_open = lane.in_cloud and tenant.allows_cloud
           and (lane.is_orchestrator
                or exists (select from public.task_slots where user_id = lane.user_id and task_id is null))
    from public.task_tenants as tenant
   where lane.id = for_lane and tenant.user_id = lane.user_id
     and (not lane.is_ready or not lane.is_open or waiting_since < lane.oldest_ready_at)
$$;
revoke all on function public.ready_lane from public, anon, authenticated;
