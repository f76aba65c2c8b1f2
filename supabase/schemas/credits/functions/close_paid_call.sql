-- Ends a call, once: charges what was answered of it and gives back the rest; of nothing answered, all. An answer is kept
-- where its call has a key, and carries what it cost. A call that is over already, as when its time ran out, stays as it
-- is. Answers what this charged.
create or replace function public.close_paid_call(
  for_call uuid, answered_units integer, answer jsonb default null, details jsonb default '{}'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  call public.paid_calls;
  price public.task_type_prices;
  hold public.credit_holds;
  charge bigint;
  told jsonb;
  new_entry public.credits_ledger;
  recorded record;
  account public.credit_accounts;
begin
  -- The account before its calls, as in open_paid_call().
  perform from public.credit_accounts
   where user_id = (select user_id from public.paid_calls where id = for_call) for no key update;
  select * into call from public.paid_calls where id = for_call and state = 'held';
  if not found then
    return jsonb_build_object('call_id', for_call, 'units', 0, 'credits', 0, 'microusd', 0);
  end if;
  select * into price from public.task_type_prices where id = call.price_id;
  charge := price.price_microusd * least(answered_units, call.units);
  told := jsonb_build_object('call_id', for_call, 'units', least(answered_units, call.units),
                             'credits', charge / 10000.0, 'microusd', charge);
  update public.paid_calls
     set state = case when charge > 0 then 'settled' else 'released' end::public.hold_state,
         charged_units = case when charge > 0 then least(answered_units, units) else 0 end,
         charged_microusd = charge, closed_at = now(),
         answer = case when charge > 0 and idempotency_key is not null
                       then close_paid_call.answer || jsonb_build_object('charge', told) end
   where id = for_call;
  if charge > 0 then
    new_entry.user_id := call.user_id;
    new_entry.call_id := for_call;
    new_entry.type := 'spend';
    new_entry.amount_microusd := -charge;
    new_entry.revenue_microusd := charge;
    new_entry.metadata := details || jsonb_build_object(
      'task_type', price.task_type, 'price_version', price.version, 'units', least(answered_units, call.units));
    select * into recorded from public.record_entry(new_entry, call.amount_microusd);
    account := recorded.account;
    perform public.draw_grants(recorded.entry);
  else
    update public.credit_accounts set held_microusd = held_microusd - call.amount_microusd
     where user_id = call.user_id
    returning * into account;
  end if;
  if account.has_spend_caps then
    hold.token_id := call.token_id;
    hold.created_at := call.created_at;
    perform public.give_back_to_spend_caps(hold, call.amount_microusd - charge);
  end if;
  if account.debt_microusd > 0 then
    perform public.collect_debt(call.user_id);
  end if;
  if exists (select from public.credit_grants
              where user_id = call.user_id and is_open and expires_at <= now()) then
    perform public.expire_grants(call.user_id);
  end if;
  return told;
end
$$;
revoke all on function public.close_paid_call from public, anon, authenticated;
grant execute on function public.close_paid_call to service_role;
