-- The only writer of the ledger: moves the account, gives back what was held for this, and appends the entry that says
-- so. Who calls sees to the grants: see add_credit() and draw_grants().
-- Guarantees: entries and balance agree at every commit, for the account's row is locked by its own update.
create or replace function public.record_entry(
  new_entry public.credits_ledger, released_microusd bigint default 0,
  out entry public.credits_ledger, out account public.credit_accounts
)
language plpgsql set search_path = '' as $$
begin
  entry := new_entry;
  entry.id := gen_random_uuid();
  entry.created_at := clock_timestamp();
  entry.metadata := coalesce(entry.metadata, '{}');
  entry.revenue_microusd := coalesce(entry.revenue_microusd, 0);
  entry.purchases_microusd := coalesce(entry.purchases_microusd, 0);
  entry.grants_microusd := coalesce(entry.grants_microusd, 0);
  entry.write_off_microusd := coalesce(entry.write_off_microusd, 0);
  entry.debt_microusd := coalesce(entry.debt_microusd, 0);
  update public.credit_accounts as moved
     set balance_microusd = moved.balance_microusd + entry.amount_microusd,
         held_microusd = moved.held_microusd - released_microusd,
         debt_microusd = moved.debt_microusd - entry.debt_microusd,
         entry_count = moved.entry_count + 1,
         chain_hash = public.entry_hash(
           moved.chain_hash, entry, moved.entry_count + 1, moved.balance_microusd + entry.amount_microusd)
   where moved.user_id = entry.user_id
  returning * into account;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  entry.sequence := account.entry_count;
  entry.balance_after_microusd := account.balance_microusd;
  entry.hash := account.chain_hash;
  insert into public.credits_ledger (
    id, user_id, sequence, task_id, call_id, payment_id, type, amount_microusd, revenue_microusd, purchases_microusd,
    grants_microusd, write_off_microusd, debt_microusd, balance_after_microusd, idempotency_key, metadata, created_at, hash)
  values (
    entry.id, entry.user_id, entry.sequence, entry.task_id, entry.call_id, entry.payment_id, entry.type, entry.amount_microusd,
    entry.revenue_microusd, entry.purchases_microusd, entry.grants_microusd, entry.write_off_microusd,
    entry.debt_microusd, entry.balance_after_microusd, entry.idempotency_key, entry.metadata, entry.created_at, entry.hash);
  entry.amount := entry.amount_microusd / 10000.0;
end
$$;
revoke all on function public.record_entry from public, anon, authenticated;
