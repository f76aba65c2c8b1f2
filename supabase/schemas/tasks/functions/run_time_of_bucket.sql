-- The seconds in the middle of a bucket of task_run_times.
create or replace function public.run_time_of_bucket(bucket integer)
returns double precision
language plpgsql immutable set search_path = '' as $$
begin
  return 0.1 * power(2::double precision, (bucket + 0.5) / 4);
end
$$;
revoke all on function public.run_time_of_bucket from public, anon, authenticated;
