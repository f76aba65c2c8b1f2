-- What was promised under this id, to this user for this type and these params (or, of a family, for any of the same price),
-- while the promise stands.
create or replace function public.find_quote(
  for_user uuid, quote_id uuid, for_task_type text, params jsonb,
  out price public.task_type_prices, out expected_microusd bigint, out held_microusd bigint, out upper_bound_microusd bigint,
  out exact boolean, out part_prices jsonb, out billed jsonb
)
language plpgsql stable set search_path = '' as $$
declare
  quote public.task_quotes;
begin
  select * into quote from public.task_quotes where id = quote_id and user_id = for_user;
  if not found then
    perform public.refuse('quote_not_found', 404);
  end if;
  if quote.expires_at <= now() then
    perform public.refuse('quote_expired', 409, jsonb_build_object('expired_at', quote.expires_at));
  end if;
  if quote.task_type <> for_task_type
     or quote.params_hash <> public.hash_of_quoted(params, quote.is_of_family) then
    perform public.refuse('quote_mismatch', 422);
  end if;
  -- Read once more by the price that was quoted.
  billed := (public.quote_task(for_task_type, params, coalesce(quote.part_prices, jsonb_build_object(
    for_task_type, jsonb_build_object(
      'price_id', quote.price_id, 'expected_seconds', 1, 'upper_bound_seconds', 1))))).billed;
  if billed <> quote.billed then
    perform public.refuse('quote_mismatch', 422);
  end if;
  select * into price from public.task_type_prices where id = quote.price_id;
  expected_microusd := quote.expected_microusd;
  held_microusd := quote.held_microusd;
  upper_bound_microusd := quote.upper_bound_microusd;
  exact := quote.exact;
  part_prices := quote.part_prices;
end
$$;
revoke all on function public.find_quote from public, anon, authenticated;
