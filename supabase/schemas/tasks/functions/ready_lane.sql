-- Says that a lane has a task that may run. The caller holds the tenant's lock.
create or replace function public.ready_lane(for_lane bigint, waiting_since timestamptz)
returns void
language plpgsql set search_path = '' as $$
declare
  lane public.task_lanes;
  may_open boolean;
begin
  select * into lane from public.task_lanes where id = for_lane;
  if lane.is_open and waiting_since >= lane.oldest_ready_at then
    return;
  end if;
  may_open := public.lane_may_open(lane);
  if lane.is_ready and lane.is_open = may_open and waiting_since >= lane.oldest_ready_at then
    return;
  end if;
  update public.task_lanes
     set is_ready = true, is_open = may_open,
         oldest_ready_at = case when is_ready then least(oldest_ready_at, waiting_since) else waiting_since end,
         is_overdue = is_ready and is_overdue, is_late = is_ready and is_late,
         waits_since = case when is_ready then waits_since else now() end,
         turn = public.turn_floor(lane)
   where id = for_lane;
  if may_open then
    perform public.open_turn(lane.user_id, lane.run_type);
  end if;
end
$$;
revoke all on function public.ready_lane from public, anon, authenticated;
