-- The turn at which a lane enters the rotation: not below what claims still look at, and not before its user's last
-- turn, so that nobody gets ahead by opening lane after lane.
create or replace function public.turn_floor(lane public.task_lanes)
returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return greatest(
    (select turn from public.turn_marks where kind = lane.run_type and model is null order by turn desc limit 1),
    (select turn from public.turn_marks where kind = lane.run_type and model = lane.model order by turn desc limit 1),
    (select turn from public.turn_marks where kind = lane.task_type and model is null order by turn desc limit 1),
    (select turn from public.turn_marks where kind = lane.task_type and model = lane.model order by turn desc limit 1),
    (select max(turn) from public.task_lanes where user_id = lane.user_id));
end
$$;
revoke all on function public.turn_floor from public, anon, authenticated;
