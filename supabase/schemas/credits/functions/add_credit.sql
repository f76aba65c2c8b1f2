-- Adds credit to an account: a payment's, or a gift, which may expire. What the account owes is collected from it at
-- once. A key that was used before is a unique violation.
create or replace function public.add_credit(
  for_user uuid, entry_type public.ledger_entry_type, amount_microusd bigint,
  idempotency_key text default null, metadata jsonb default '{}', for_payment uuid default null,
  expires_at timestamptz default null
) returns public.credits_ledger
language plpgsql set search_path = '' as $$
declare
  new_entry public.credits_ledger;
  recorded record;
begin
  new_entry.user_id := for_user;
  new_entry.type := entry_type;
  new_entry.payment_id := for_payment;
  new_entry.amount_microusd := add_credit.amount_microusd;
  if for_payment is not null then
    new_entry.purchases_microusd := -add_credit.amount_microusd;
  else
    new_entry.grants_microusd := -add_credit.amount_microusd;
  end if;
  new_entry.idempotency_key := add_credit.idempotency_key;
  new_entry.metadata := add_credit.metadata;
  select * into recorded from public.record_entry(new_entry);
  insert into public.credit_grants (user_id, entry_id, category, amount_microusd, remaining_microusd, expires_at)
  values (for_user, (recorded.entry).id,
          case when for_payment is null then 'promotional' else 'paid' end::public.grant_category,
          add_credit.amount_microusd, add_credit.amount_microusd, add_credit.expires_at);
  if add_credit.expires_at is not null then
    update public.credit_accounts set next_expiry_at = least(next_expiry_at, add_credit.expires_at)
     where user_id = for_user;
  end if;
  if (recorded.account).debt_microusd > 0 then
    perform public.collect_debt(for_user);
  end if;
  return recorded.entry;
end
$$;
revoke all on function public.add_credit from public, anon, authenticated;
