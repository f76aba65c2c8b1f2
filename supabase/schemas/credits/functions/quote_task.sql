-- The price of a task before it runs, as of a time. Per unit it is exact. Per second it is expected to take as long as
-- runs of its kind usually do, and at most as long as nearly all of them did, or as its type may; an orchestrator is
-- the sum of the children that its plan speaks of. The breakdown is made for those who show it.
create or replace function public.quote_task(
  for_task_type text, params jsonb, as_of timestamptz default now(), with_breakdown boolean default false,
  out price public.task_type_prices, out expected_microusd bigint, out upper_bound_microusd bigint, out exact boolean,
  out breakdown jsonb
)
language plpgsql stable set search_path = '' as $$
declare
  task_type public.task_types;
  estimate record;
  part record;
  part_price public.task_type_prices;
  part_bound bigint;
  part_expected bigint;
begin
  select * into task_type from public.task_types where name = for_task_type;
  price := public.current_price(for_task_type, as_of);
  breakdown := '[]';
  if task_type.category = 'orchestration' then
    exact := false;
    expected_microusd := 0;
    upper_bound_microusd := 0;
    for part in select * from public.planned_children(for_task_type, params) loop
      part_price := public.current_price(part.child_type, as_of);
      estimate := public.run_estimate(part.child_type, public.model_of_params(params), as_of);
      part_expected := public.price_of_work(part_price, params, estimate.expected_seconds, estimate.upper_bound_seconds);
      part_bound := public.price_of_work(part_price, params, estimate.upper_bound_seconds, estimate.upper_bound_seconds);
      expected_microusd := expected_microusd + part.child_count * part_expected;
      upper_bound_microusd := upper_bound_microusd + part.child_count * part_bound;
      if with_breakdown then
        breakdown := breakdown || public.price_line(
          part_price, params, part.child_count, estimate.expected_seconds, estimate.upper_bound_seconds);
      end if;
    end loop;
    return;
  end if;
  exact := price.billing_type = 'per_unit';
  if exact then
    expected_microusd := public.price_of_work(price, params, 1, 1);
    upper_bound_microusd := expected_microusd;
    if with_breakdown then
      breakdown := breakdown || public.price_line(price, params, 1, 1, 1);
    end if;
    return;
  end if;
  estimate := public.run_estimate(for_task_type, public.model_of_params(params), as_of);
  expected_microusd := public.price_of_work(price, params, estimate.expected_seconds, estimate.upper_bound_seconds);
  upper_bound_microusd := public.price_of_work(price, params, estimate.upper_bound_seconds, estimate.upper_bound_seconds);
  if with_breakdown then
    breakdown := breakdown || public.price_line(
      price, params, 1, estimate.expected_seconds, estimate.upper_bound_seconds);
  end if;
end
$$;
revoke all on function public.quote_task from public, anon, authenticated;
