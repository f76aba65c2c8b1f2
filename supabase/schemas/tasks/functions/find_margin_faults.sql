-- Work that is sold for less than providers bill for it: by the prices in force, and by what tasks of the last seven days cost and were
-- charged. One row for each fault. Types whose losses the operator allows are left out.
create or replace function public.find_margin_faults()
returns table (rule text, user_id uuid, row_id text, details jsonb)
language sql stable set search_path = '' as $$
  with usual as (
    select offer.task_type, offer.provider, offer.model, price.billing_type,
           -- By the second, what the operator expects such a run to take.
           public.price_of_work(price, offer.billed, public.expected_seconds(kind.name), kind.max_runtime_seconds) as charge_microusd,
           public.cost_of_provider_call(offer.provider, offer.model, offer.units) as cost_microusd
      from public.provider_models as offer
      join public.task_types as kind on kind.name = offer.task_type and kind.is_active and not kind.allows_provider_loss
      cross join lateral public.current_price(kind.name) as price
     where price.id is not null and not (select allows_provider_loss from public.queue_settings)
  )
  select 'type_sold_below_cost', null::uuid, usual.task_type || ' ' || usual.model, jsonb_build_object(
         'provider', usual.provider, 'charge_microusd', usual.charge_microusd, 'provider_cost_microusd', usual.cost_microusd)
    from usual where usual.cost_microusd > usual.charge_microusd
  union all
  select 'provider_price_unknown', null, usual.task_type || ' ' || usual.model, jsonb_build_object('provider', usual.provider)
    from usual where usual.cost_microusd is null
  union all
  select 'task_cost_exceeds_charge', cost.user_id, cost.task_id::text, jsonb_build_object(
         'task_type', cost.task_type, 'status', task.status, 'charge_microusd', coalesce(task.cost_microusd, 0),
         'provider_cost_microusd', cost.provider_cost_microusd)
    from public.task_provider_costs as cost
    join public.task_types as kind on kind.name = cost.task_type and not kind.allows_provider_loss
    join public.all_tasks as task on task.id = cost.task_id
   where cost.day >= (now() at time zone 'UTC')::date - 7
     and task.status in ('Complete', 'Failed', 'Cancelled') and not task.is_orchestrator
     and cost.provider_cost_microusd > coalesce(task.cost_microusd, 0)
     and not (select allows_provider_loss from public.queue_settings)
     -- A job that is being withdrawn decides about both.
     and not exists (select from public.provider_withdrawals as open where open.task_id = task.id and open.state = 'open')
$$;
revoke all on function public.find_margin_faults from public, anon, authenticated;
