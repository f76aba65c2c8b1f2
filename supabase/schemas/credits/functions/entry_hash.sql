-- The link of an entry to the one before it: SHA-256 of that one's hash and of everything that this one says.
create or replace function public.entry_hash(
  previous_hash bytea, entry public.credits_ledger, entry_sequence bigint, balance_after bigint
) returns bytea
language plpgsql stable set search_path = '' as $$
begin
  return sha256(previous_hash || convert_to(jsonb_build_array(
    entry_sequence, entry.id, entry.user_id, entry.task_id, entry.call_id, entry.payment_id, entry.type,
    entry.amount_microusd, entry.revenue_microusd, entry.purchases_microusd, entry.grants_microusd,
    entry.write_off_microusd, entry.debt_microusd, balance_after, entry.idempotency_key, entry.metadata,
    -- As a number: the text of a time depends on the session.
    extract(epoch from entry.created_at))::text, 'UTF8'));
end
$$;
revoke all on function public.entry_hash from public, anon, authenticated;
