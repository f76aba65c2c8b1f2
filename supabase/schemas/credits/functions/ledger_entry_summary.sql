-- A ledger row as APIs show it: cents for people, micro-dollars for arithmetic.
create or replace function public.ledger_entry_summary(entry public.credits_ledger)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return jsonb_build_object(
    'id', entry.id, 'user_id', entry.user_id, 'sequence', entry.sequence, 'task_id', entry.task_id,
    'call_id', entry.call_id, 'type', entry.type,
    'amount', entry.amount, 'amount_microusd', entry.amount_microusd,
    'balance_after_microusd', entry.balance_after_microusd, 'debt_microusd', -entry.debt_microusd,
    'metadata', entry.metadata, 'created_at', entry.created_at);
end
$$;
revoke all on function public.ledger_entry_summary from public, anon, authenticated;
