-- The fixed welcome of five dollars, once per user: the ledger's unique index decides between racers.
-- Answers the entry, new or old.
create or replace function public.grant_welcome_bonus(for_user uuid)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  entry public.credits_ledger;
begin
  -- Locked first, so that a racer waits here and then finds the entry.
  perform from public.credit_accounts where user_id = for_user for no key update;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  select * into entry from public.credits_ledger
   where user_id = for_user and metadata ->> 'is_welcome_bonus' = 'true';
  if found then
    return jsonb_build_object(
      'success', true, 'transaction', public.ledger_entry_summary(entry), 'isWelcomeBonus', true,
      'deduplicated', true, 'message', 'The welcome bonus was granted before');
  end if;
  entry := public.record_credit(for_user, 'manual', 5000000, metadata => jsonb_build_object(
    'is_welcome_bonus', true, 'description', 'Welcome bonus', 'actor', 'system'));
  update public.users set given_credits = true where id = for_user;
  return jsonb_build_object(
    'success', true, 'transaction', public.ledger_entry_summary(entry), 'isWelcomeBonus', true,
    'deduplicated', false, 'message', 'Granted the welcome bonus of $5.00');
end
$$;
revoke all on function public.grant_welcome_bonus from public, anon, authenticated;
grant execute on function public.grant_welcome_bonus to service_role;
