-- The turn at which a lane opens: not below what claims still look at. Its user's turn is what counts.
create or replace function public.turn_floor(lane public.task_lanes)
returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return greatest(
    lane.turn, public.newest_turn_mark(lane.run_type, lane.model), public.newest_turn_mark(lane.task_type, null),
    public.newest_turn_mark(lane.task_type, lane.model));
end
$$;
revoke all on function public.turn_floor from public, anon, authenticated;
