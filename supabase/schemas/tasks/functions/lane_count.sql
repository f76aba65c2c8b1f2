-- How many tasks of a lane are ready, blocked, scheduled and running.
create or replace function public.lane_count(
  for_lane bigint, out ready integer, out blocked integer, out scheduled integer, out running integer
)
language plpgsql stable set search_path = '' as $$
begin
  select coalesce(sum(count.ready), 0), coalesce(sum(count.blocked), 0), coalesce(sum(count.scheduled), 0),
         coalesce(sum(count.running), 0)
    into ready, blocked, scheduled, running
    from public.task_counts as count where count.lane_id = for_lane;
end
$$;
revoke all on function public.lane_count from public, anon, authenticated;
