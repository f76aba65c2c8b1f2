-- How an ended task's cost came about, line by line; an orchestration's by the kinds of its finished and cancelled parts.
-- `reason` names what was not completed. Nothing for what was free.
create or replace function public.cost_lines(task public.all_tasks)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return (
    with work as (
      select part.*, price.version, price.billing_type, part.reused_task_id is not null as is_reused,
             case when part.status <> 'Complete' then lower(part.status::text) end as reason,
             case when part.reused_task_id is null then price.price_microusd else part.cost_microusd end as price_microusd,
             least(greatest(ceil(extract(epoch from part.generation_processed_at - part.generation_started_at)), 1),
                   public.seconds_of_bound(part.upper_bound_microusd, price, part.billed))::integer as seconds,
             case when part.reused_task_id is null then public.price_multiplier(price, public.billed_of_run(part.billed, part.result_data)) else 1 end as multiplier,
             case when part.reused_task_id is null then public.price_factors(price, public.billed_of_run(part.billed, part.result_data)) else '[]' end as factors
        from public.parts_of_task(task.id) as part
        join public.task_type_prices as price on price.id = part.price_id
       where part.cost_microusd > 0
    ), line as (
      select work.task_type, work.version, work.billing_type, work.price_microusd, work.multiplier, work.factors,
             work.is_reused, work.reason, count(*) as pieces, sum(work.seconds) as seconds, sum(work.cost_microusd) as total
        from work group by 1, 2, 3, 4, 5, 6, 7, 8
    )
    select coalesce(jsonb_agg(jsonb_build_object(
        'item', line.task_type, 'count', line.pieces, 'price_version', line.version,
        'unit', case when line.is_reused then 'reuse' when line.billing_type = 'per_unit' then 'output' else 'second' end,
        'quantity', case when line.is_reused or line.billing_type = 'per_unit' then line.pieces else line.seconds end,
        'each_microusd', line.price_microusd, 'factors', line.factors, 'multiplier', line.multiplier,
        'total_microusd', line.total)
        || case when line.reason is null then '{}' else jsonb_build_object('reason', line.reason) end
        order by line.task_type, line.version, line.multiplier), '[]')
      from line);
end
$$;
revoke all on function public.cost_lines from public, anon, authenticated;
