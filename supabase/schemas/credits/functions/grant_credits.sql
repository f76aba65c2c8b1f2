-- An operator's gift, which may expire. The same key again answers the first entry; with another amount, user, reason,
-- actor or time 422.
create or replace function public.grant_credits(
  for_user uuid, amount_cents integer, reason text, actor text, idempotency_key text, expires_at timestamptz default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  key constant text := 'grant:' || grant_credits.idempotency_key;
  entry public.credits_ledger;
  repeated boolean;
begin
  perform from public.credit_accounts where user_id = for_user for no key update;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  select * into entry from public.credits_ledger as known where known.idempotency_key = key;
  repeated := found;
  if repeated then
    if entry.user_id <> for_user or entry.amount_microusd <> amount_cents * 10000::bigint
       or entry.metadata ->> 'description' is distinct from reason or entry.metadata ->> 'actor' is distinct from actor
       or grant_credits.expires_at is distinct from (
            select granted.expires_at from public.credit_grants as granted where granted.entry_id = entry.id) then
      perform public.refuse('idempotency_key_reused', 422);
    end if;
  else
    if grant_credits.expires_at <= now() then
      perform public.refuse('expiry_in_the_past', 422);
    end if;
    entry := public.add_credit(for_user, 'manual', amount_cents * 10000::bigint, key,
      jsonb_build_object('description', reason, 'actor', actor), null, grant_credits.expires_at);
  end if;
  return jsonb_build_object(
    'success', true, 'transaction', public.ledger_entry_summary(entry), 'expires_at', grant_credits.expires_at,
    'deduplicated', repeated, 'message', format('Granted %s credits', amount_cents));
exception
  -- The same key for another user, committed between our look and our insert.
  when unique_violation then
    perform public.refuse('idempotency_key_reused', 422);
end
$$;
revoke all on function public.grant_credits from public, anon, authenticated;
grant execute on function public.grant_credits to service_role;
