-- What finished runs of these types (and model, where it is named and known) took, in seconds.
create or replace function public.run_time_statistics(
  types text[], of_model text,
  out samples integer, out mean double precision, out deviation double precision, out p50 double precision,
  out p90 double precision
)
language plpgsql stable set search_path = '' as $$
declare
  by_model constant boolean := of_model is not null and exists (
    select from public.task_run_times where task_type = any (types) and model = of_model);
begin
  with buckets as (
    select public.run_time_of_bucket(bucket) as seconds, sum(runs) as runs
      from public.task_run_times
     where task_type = any (types) and (not by_model or model = of_model)
     group by bucket
  ), ranked as (
    select *, sum(runs) over (order by seconds) as up_to, sum(runs) over () as total from buckets
  )
  select max(total)::integer, sum(seconds * runs) / max(total),
         sqrt(greatest(sum(seconds * seconds * runs) / max(total) - power(sum(seconds * runs) / max(total), 2), 0)),
         min(seconds) filter (where up_to >= total * 0.5), min(seconds) filter (where up_to >= total * 0.9)
    into samples, mean, deviation, p50, p90
    from ranked;
  samples := coalesce(samples, 0);
end
$$;
revoke all on function public.run_time_statistics from public, anon, authenticated;
