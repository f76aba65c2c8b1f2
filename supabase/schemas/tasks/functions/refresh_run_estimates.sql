-- Draws new estimates from the times that finished runs took, for types that are paid by the second: the median is
-- expected, and twice what 99 of 100 stayed below is the upper bound, at most what the type may run. Fewer than 50 runs
-- say nothing.
create or replace function public.refresh_run_estimates()
returns void
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.task_run_estimates as known (task_type, model, runs, expected_seconds, upper_bound_seconds)
  select fresh.task_type, fresh.model, fresh.runs, least(fresh.expected, fresh.bound), fresh.bound
    from (select ranked.task_type, ranked.model, max(ranked.total)::integer as runs,
                 ceil(public.run_time_of_bucket(min(bucket) filter (where up_to >= total * 0.5)))::integer as expected,
                 least(ceil(2 * public.run_time_of_bucket(min(bucket) filter (where up_to >= total * 0.99)))::integer,
                       max(kind.max_runtime_seconds)) as bound
            from (select *, sum(runs) over (partition by task_type, model order by bucket) as up_to,
                         sum(runs) over (partition by task_type, model) as total
                    from public.task_run_times) as ranked
            join public.task_types as kind on kind.name = ranked.task_type
           where (public.current_price(kind.name)).billing_type = 'per_second'
           group by ranked.task_type, ranked.model having max(ranked.total) >= 50) as fresh
   order by fresh.task_type, fresh.model
  on conflict (task_type, model) do update
    set runs = excluded.runs, expected_seconds = excluded.expected_seconds,
        upper_bound_seconds = excluded.upper_bound_seconds, updated_at = now()
    where (known.expected_seconds, known.upper_bound_seconds)
          is distinct from (excluded.expected_seconds, excluded.upper_bound_seconds);
end
$$;
revoke all on function public.refresh_run_estimates from public, anon, authenticated;
grant execute on function public.refresh_run_estimates to service_role;
