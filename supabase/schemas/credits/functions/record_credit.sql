-- The only writer of the ledger: moves the account, gives back what was held for this, and appends the entry
-- that says so.
-- Guarantees: entries and balance agree at every commit, for the account's row is locked by its own update.
create or replace function public.record_credit(
  for_user uuid, entry_type public.ledger_entry_type, amount_microusd bigint,
  for_task uuid default null, idempotency_key text default null, metadata jsonb default '{}',
  released_microusd bigint default 0
) returns public.credits_ledger
language plpgsql set search_path = '' as $$
declare
  balance bigint;
  entry public.credits_ledger;
begin
  update public.credit_accounts as account
     set balance_microusd = account.balance_microusd + record_credit.amount_microusd,
         held_microusd = account.held_microusd - released_microusd
   where account.user_id = for_user
  returning account.balance_microusd into balance;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  insert into public.credits_ledger
    (user_id, task_id, type, amount_microusd, balance_after_microusd, idempotency_key, metadata)
  values (for_user, for_task, entry_type, record_credit.amount_microusd, balance,
          record_credit.idempotency_key, record_credit.metadata)
  returning * into entry;
  return entry;
end
$$;
revoke all on function public.record_credit from public, anon, authenticated;
