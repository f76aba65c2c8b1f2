-- Covers a call before a provider is asked, or refuses with 402; null where it is free: without an account to charge, with
-- nothing to pay for, or without a price. What has no price counts as `model_calls` against the account's daily allowance. The same key and content again answer what the first call answered.
-- Guarantees: calls of an account are opened and closed under its lock, so of two with one key the second sees the first,
-- and credit for one call covers one. What a dead process held is given back first.
create or replace function public.open_paid_call(
  for_user uuid, for_token uuid, asked_user uuid, for_type text, for_units integer, idempotency_key text,
  content_hash bytea, model_calls integer default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  price constant public.task_type_prices := public.current_price(for_type);
  required constant bigint := coalesce(price.price_microusd, 0) * for_units;
  account public.credit_accounts;
  known public.paid_calls;
begin
  if asked_user <> for_user then
    perform public.refuse('forbidden', 403);
  end if;
  if for_user is null or for_units = 0 then
    return null;
  end if;
  if required = 0 then
    if not exists (select from public.credit_accounts where user_id = for_user) then
      perform public.refuse('user_not_found', 404);
    end if;
    perform public.take_free_calls(for_user, coalesce(open_paid_call.model_calls, for_units));
    return null;
  end if;
  perform from public.credit_accounts where user_id = for_user for no key update;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  perform public.close_paid_call(call.id, 0)
     from public.paid_calls as call
    where call.user_id = for_user and call.state = 'held' and call.expires_at <= now();
  if open_paid_call.idempotency_key is not null then
    select * into known from public.paid_calls as call
     where call.user_id = for_user and call.idempotency_key = open_paid_call.idempotency_key
       and call.state <> 'released';
    if known.content_hash <> open_paid_call.content_hash then
      perform public.refuse('idempotency_key_reused', 422);
    elsif known.state = 'held' then
      perform public.refuse('call_in_progress', 409, '{"retry_after": 5}');
    elsif known.state = 'settled' then
      return jsonb_build_object('call_id', known.id, 'answer', known.answer);
    end if;
  end if;
  account := public.reserve_credit(for_user, required);
  if account.has_spend_caps then
    perform public.count_against_spend_caps(null, for_token, required, public.spend_month(now()));
  end if;
  insert into public.paid_calls (user_id, token_id, price_id, units, amount_microusd, idempotency_key, content_hash)
  values (for_user, for_token, price.id, for_units, required, open_paid_call.idempotency_key,
          case when open_paid_call.idempotency_key is not null then open_paid_call.content_hash end)
  returning * into known;
  return jsonb_build_object('call_id', known.id, 'answer', null);
end
$$;
revoke all on function public.open_paid_call from public, anon, authenticated;
grant execute on function public.open_paid_call to service_role;
