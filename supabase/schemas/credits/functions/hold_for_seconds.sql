-- What must be held so that it pays for so many seconds of work: rounded up, where a price is rounded to the nearest.
create or replace function public.hold_for_seconds(price public.task_type_prices, billed jsonb, seconds integer)
returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return least(ceil(price.price_microusd * public.price_multiplier(price, billed) * seconds), 1e14)::bigint;
end
$$;
revoke all on function public.hold_for_seconds from public, anon, authenticated;
