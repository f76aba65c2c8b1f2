-- What tasks that ran at a provider brought in and cost, by day (UTC) of their first job and task type, from a day up to, not including,
-- another; at most 366 days. Read by the index of their days.
create or replace function public.provider_margin(from_day date, to_day date)
returns jsonb
language plpgsql stable security definer set search_path = '' set plan_cache_mode = 'force_custom_plan' as $$
begin
  if to_day <= from_day or to_day - from_day > 366 then
    perform public.refuse('invalid_request', 400, '{"field": "to_day"}');
  end if;
  return (
    with line as (
      select * from public.provider_margins where day >= from_day and day < to_day
    )
    select jsonb_build_object(
      'currency', 'usd', 'from_day', from_day, 'to_day', to_day,
      'tasks', coalesce(sum(line.tasks), 0), 'jobs', coalesce(sum(line.jobs), 0),
      'revenue_microusd', coalesce(sum(line.revenue_microusd), 0),
      'provider_cost_microusd', coalesce(sum(line.provider_cost_microusd), 0),
      'margin_microusd', coalesce(sum(line.margin_microusd), 0),
      'lines', coalesce(jsonb_agg(to_jsonb(line) order by line.day, line.task_type), '[]'))
      from line);
end
$$;
revoke all on function public.provider_margin from public, anon, authenticated;
grant execute on function public.provider_margin to service_role;
