-- The bucket of task_run_times for a run of so many seconds: four to a doubling, from a tenth of a second on.
create or replace function public.run_time_bucket(seconds numeric)
returns smallint
language plpgsql immutable set search_path = '' as $$
begin
  return least(greatest(floor(4 * log(2, greatest(seconds, 0.1) * 10)), 0), 80)::smallint;
end
$$;
revoke all on function public.run_time_bucket from public, anon, authenticated;
