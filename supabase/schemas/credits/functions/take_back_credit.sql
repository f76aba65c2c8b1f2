-- Takes back credit that was added, as a refund or a dispute does: what is available, the payment's own first, never
-- what is held. What was spent already becomes debt, which is collected as soon as something is available.
create or replace function public.take_back_credit(
  for_user uuid, entry_type public.ledger_entry_type, amount_microusd bigint,
  idempotency_key text, metadata jsonb default '{}', for_payment uuid default null
) returns public.credits_ledger
language plpgsql set search_path = '' as $$
declare
  available bigint;
  taken bigint;
  new_entry public.credits_ledger;
  recorded public.credits_ledger;
begin
  if take_back_credit.amount_microusd <= 0 then
    raise exception 'taking back % is taking back nothing', take_back_credit.amount_microusd;
  end if;
  -- Credit whose time is over is not there to be taken.
  perform public.expire_grants(user_id) from public.credit_accounts
    where user_id = for_user and next_expiry_at <= now();
  select balance_microusd - held_microusd into available
    from public.credit_accounts where user_id = for_user for no key update;
  taken := least(take_back_credit.amount_microusd, coalesce(available, 0));
  new_entry.user_id := for_user;
  new_entry.type := entry_type;
  new_entry.payment_id := for_payment;
  new_entry.amount_microusd := -taken;
  new_entry.debt_microusd := taken - take_back_credit.amount_microusd;
  if for_payment is not null then
    new_entry.purchases_microusd := take_back_credit.amount_microusd;
  else
    new_entry.grants_microusd := take_back_credit.amount_microusd;
  end if;
  new_entry.idempotency_key := take_back_credit.idempotency_key;
  new_entry.metadata := take_back_credit.metadata;
  select (made.entry).* into recorded from public.record_entry(new_entry) as made;
  if taken > 0 then
    perform public.draw_grants(
      recorded,
      (select granted.id from public.credit_grants as granted
         join public.credits_ledger as added on added.id = granted.entry_id
        where granted.user_id = for_user and granted.is_open and added.payment_id = for_payment
        order by granted.id limit 1),
      paid_first => true);
  end if;
  return recorded;
end
$$;
revoke all on function public.take_back_credit from public, anon, authenticated;
