-- Gives a user what a code is worth, once, however they spell their address; asking again answers the same entry. People
-- without a confirmed address get none, and are not told which codes there are: they could be any number of people.
create or replace function public.redeem_promo_code(for_user uuid, given_code text)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  promo public.promo_codes;
  entry public.credits_ledger;
  repeated boolean;
  person_hash bytea;
begin
  select sha256(convert_to(public.address_key(email), 'UTF8')) into person_hash
    from auth.users
   where id = for_user and not coalesce(is_anonymous, false) and email_confirmed_at is not null;
  if person_hash is null then
    perform public.refuse('address_not_confirmed', 403);
  end if;
  select * into promo from public.promo_codes where code = upper(trim(given_code)) for no key update;
  if not found or promo.valid_from > now() then
    perform public.refuse('promo_code_not_found', 404);
  end if;
  select ledger.* into entry
    from public.promo_redemptions as redeemed join public.credits_ledger as ledger on ledger.id = redeemed.entry_id
   where redeemed.code = promo.code and redeemed.user_id = for_user;
  repeated := found;
  if not repeated then
    if promo.valid_until <= now() or promo.uses >= promo.max_uses then
      perform public.refuse('promo_code_ended', 409, jsonb_build_object(
        'reason', case when promo.valid_until <= now() then 'expired' else 'used_up' end));
    end if;
    if exists (select from public.promo_redemptions where code = promo.code and address_hash = person_hash) then
      perform public.refuse('promo_code_ended', 409, '{"reason": "address_used"}');
    end if;
    update public.promo_codes set uses = uses + 1 where code = promo.code;
    entry := public.add_credit(
      for_user, 'manual', promo.amount_microusd, format('promo:%s:%s', promo.code, for_user),
      jsonb_build_object('description', promo.description, 'promo_code', promo.code, 'actor', 'user'), null,
      now() + make_interval(days => promo.credit_days));
    insert into public.promo_redemptions (code, user_id, address_hash, entry_id)
    values (promo.code, for_user, person_hash, entry.id);
  end if;
  return jsonb_build_object(
    'success', true, 'code', promo.code, 'transaction', public.ledger_entry_summary(entry),
    'expires_at', (select expires_at from public.credit_grants where entry_id = entry.id),
    'deduplicated', repeated);
end
$$;
revoke all on function public.redeem_promo_code from public, anon, authenticated;
grant execute on function public.redeem_promo_code to service_role;
