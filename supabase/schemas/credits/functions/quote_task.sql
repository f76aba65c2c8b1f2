-- The price of a task before it runs. Per unit it is exact; per second the upper bound is the type's
-- longest run; an orchestrator's is the sum of the children its plan speaks of.
create or replace function public.quote_task(
  for_task_type text, params jsonb,
  out price public.task_type_prices, out upper_bound_microusd bigint, out exact boolean, out breakdown jsonb
)
language plpgsql stable set search_path = '' as $$
declare
  task_type public.task_types;
  part record;
begin
  select * into task_type from public.task_types where name = for_task_type;
  price := public.current_price(for_task_type);
  if task_type.category = 'orchestration' then
    exact := false;
    upper_bound_microusd := 0;
    breakdown := '[]';
    for part in
      select planned.child_type, planned.child_count, child.max_runtime_seconds,
             public.price_of_work(public.current_price(planned.child_type), quote_task.params,
                                  child.max_runtime_seconds, child.max_runtime_seconds) as each_microusd
        from public.planned_children(for_task_type, quote_task.params) as planned
        join public.task_types as child on child.name = planned.child_type
    loop
      upper_bound_microusd := upper_bound_microusd + part.child_count * part.each_microusd;
      breakdown := breakdown || jsonb_build_object(
        'item', part.child_type, 'count', part.child_count, 'each_microusd', part.each_microusd,
        'total_microusd', part.child_count * part.each_microusd);
    end loop;
  else
    exact := price.billing_type = 'per_unit';
    upper_bound_microusd := public.price_of_work(
      price, quote_task.params, task_type.max_runtime_seconds, task_type.max_runtime_seconds);
    breakdown := jsonb_build_array(jsonb_build_object(
      'item', for_task_type,
      'count', case when exact then 1 else task_type.max_runtime_seconds end,
      'unit', case when exact then 'output' else 'second' end,
      'each_microusd', price.price_microusd,
      'multiplier', public.price_multiplier(price, quote_task.params),
      'total_microusd', upper_bound_microusd));
  end if;
end
$$;
revoke all on function public.quote_task from public, anon, authenticated;
