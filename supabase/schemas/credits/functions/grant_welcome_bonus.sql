-- The welcome bonus, of a fixed amount, once per person: unique keys on user and address decide between racers.
-- Answers the entry, new or old.
create or replace function public.grant_welcome_bonus(for_user uuid)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  entry public.credits_ledger;
  reason text;
  bonus_microusd bigint;
begin
  -- Locked first, so that a racer waits here and then finds the entry.
  perform from public.credit_accounts where user_id = for_user for no key update;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  select ledger.* into entry
    from public.welcome_bonuses as bonus join public.credits_ledger as ledger on ledger.id = bonus.entry_id
   where bonus.user_id = for_user;
  if found then
    return jsonb_build_object(
      'success', true, 'transaction', public.ledger_entry_summary(entry), 'isWelcomeBonus', true,
      'deduplicated', true, 'message', 'The welcome bonus was granted before');
  end if;
  -- One person after the other, so that the limits count all before them.
  perform pg_advisory_xact_lock(hashtextextended('welcome_bonus', 0));
  reason := public.welcome_bonus_refusal(for_user);
  if reason is not null then
    perform public.refuse('welcome_bonus_refused', 409, jsonb_build_object('reason', reason));
  end if;
  select welcome_bonus_microusd into bonus_microusd from public.credit_settings;
  entry := public.add_credit(for_user, 'manual', bonus_microusd, 'welcome:' || for_user, jsonb_build_object(
    'is_welcome_bonus', true, 'description', 'Welcome bonus', 'actor', 'system'));
  insert into public.welcome_bonuses (address_hash, domain, network_hash, user_id, entry_id)
  select sha256(convert_to(public.address_key(email), 'UTF8')), public.mail_domain(email),
         sha256(convert_to(public.network_of_person(for_user), 'UTF8')), for_user, entry.id
    from auth.users where id = for_user;
  update public.users set given_credits = true where id = for_user;
  return jsonb_build_object(
    'success', true, 'transaction', public.ledger_entry_summary(entry), 'isWelcomeBonus', true,
    'deduplicated', false,
    'message', format('Granted the welcome bonus of $%s', to_char(bonus_microusd / 1000000.0, 'FM999990.00')));
exception
  -- Another person with the same address, committed between our look and our insert.
  when unique_violation then
    perform public.refuse('welcome_bonus_refused', 409, '{"reason": "address_used"}');
end
$$;
revoke all on function public.grant_welcome_bonus from public, anon, authenticated;
grant execute on function public.grant_welcome_bonus to service_role;
