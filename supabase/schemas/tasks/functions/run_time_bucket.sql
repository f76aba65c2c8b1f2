-- The bucket of task_run_times for a run of so many seconds: four to a doubling, from a tenth of a second on.
create or replace function public.run_time_bucket(seconds double precision)
returns smallint
language plpgsql immutable set search_path = '' as $$
begin
  return least(greatest(floor(4 * ln(greatest(seconds, 0.1) * 10) / ln(2::double precision)), 0), 80);
end
$$;
revoke all on function public.run_time_bucket from public, anon, authenticated;
