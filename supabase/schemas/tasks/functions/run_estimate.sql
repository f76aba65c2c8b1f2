-- How long such a run is expected to take, and at most. Without enough runs of its model: as long as its type may.
create or replace function public.run_estimate(
  for_task_type text, for_model text,
  out runs integer, out expected_seconds integer, out upper_bound_seconds integer
)
language plpgsql stable set search_path = '' as $$
begin
  select known.runs, known.expected_seconds, known.upper_bound_seconds
    into runs, expected_seconds, upper_bound_seconds
    from public.task_run_estimates as known
   where known.task_type = for_task_type and known.model = coalesce(for_model, '');
  if not found then
    select 0, max_runtime_seconds, max_runtime_seconds into runs, expected_seconds, upper_bound_seconds
      from public.task_types where name = for_task_type;
  end if;
end
$$;
revoke all on function public.run_estimate from public, anon, authenticated;
