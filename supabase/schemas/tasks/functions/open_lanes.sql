-- Brings `is_open` of a user's ready lanes in line with the user's choice and free slots.
-- The caller holds the tenant's lock.
create or replace function public.open_lanes(for_user uuid)
returns void
language plpgsql set search_path = '' as $$
declare
  lane public.task_lanes;
  may_open boolean;
begin
  for lane in select * from public.task_lanes where user_id = for_user and is_ready loop
    may_open := public.lane_may_open(lane);
    if lane.is_open <> may_open then
      update public.task_lanes
         set is_open = may_open, turn = public.turn_floor(lane)
       where id = lane.id;
    end if;
  end loop;
end
$$;
revoke all on function public.open_lanes from public, anon, authenticated;
