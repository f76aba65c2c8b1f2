-- The price of a task before it runs. Per unit it is exact. Per second it is what the operator expects such a run to take, and
-- at most the longest run of its type; an orchestrator is the sum of the children that its plan speaks of, and what was
-- promised for each kind of them is in part_prices.
-- `billed` is the one reading of what the price depends on; of an orchestrator, of each kind of its children: see with_billed_part().
-- `promised` is such a promise, which counts instead of the prices and figures of today. The breakdown is made for
-- those who show it, of so many tasks; the rest is of one.
create or replace function public.quote_task(
  for_task_type text, params jsonb, promised jsonb default null, with_breakdown boolean default false,
  task_count integer default 1,
  out price public.task_type_prices, out expected_microusd bigint, out held_microusd bigint, out upper_bound_microusd bigint,
  out exact boolean,
  out part_prices jsonb, out breakdown jsonb, out billed jsonb
)
language plpgsql stable set search_path = '' as $$
declare
  is_orchestration constant boolean := (select category = 'orchestration' from public.task_types where name = for_task_type);
  part record;
  priced record;
begin
  expected_microusd := 0;
  held_microusd := 0;
  upper_bound_microusd := 0;
  breakdown := '[]';
  billed := '{}';
  if is_orchestration then
    price := public.current_price(for_task_type);
    exact := false;
    part_prices := '{}';
    for part in select * from public.planned_children(for_task_type, params) loop
      select * into priced from public.price_part(part.child_type, params || part.own_params, promised);
      expected_microusd := expected_microusd + part.child_count * priced.expected_microusd;
      held_microusd := held_microusd + part.child_count * priced.held_microusd;
      upper_bound_microusd := upper_bound_microusd + part.child_count * priced.upper_bound_microusd;
      part_prices := part_prices || jsonb_build_object(part.child_type, jsonb_build_object(
        'price_id', (priced.price).id, 'expected_seconds', priced.expected_seconds,
        'upper_bound_seconds', priced.upper_bound_seconds));
      billed := public.with_billed_part(billed, part.child_type, priced.billed, part.child_count);
      if with_breakdown then
        breakdown := breakdown || public.price_line(
          priced.price, priced.billed, task_count * part.child_count, priced.expected_seconds, priced.upper_bound_seconds);
      end if;
    end loop;
  else
    select * into priced from public.price_part(for_task_type, params, promised);
    price := priced.price;
    exact := price.billing_type = 'per_unit';
    expected_microusd := priced.expected_microusd;
    held_microusd := priced.held_microusd;
    upper_bound_microusd := priced.upper_bound_microusd;
    billed := priced.billed;
    if with_breakdown then
      breakdown := breakdown || public.price_line(
        price, billed, task_count, priced.expected_seconds, priced.upper_bound_seconds);
    end if;
  end if;
end
$$;
revoke all on function public.quote_task from public, anon, authenticated;
