-- Holds so much more of an account, or refuses with 402. The condition is part of the update, so any number of racers
-- share one balance correctly. Credit whose time is over is not counted on.
create or replace function public.reserve_credit(for_user uuid, required_microusd bigint)
returns public.credit_accounts
language plpgsql set search_path = '' as $$
declare
  account public.credit_accounts;
  available bigint;
begin
  for attempt in 1..2 loop
    update public.credit_accounts as held
       set held_microusd = held.held_microusd + required_microusd
     where held.user_id = for_user
       and held.balance_microusd - held.held_microusd >= required_microusd
       and held.debt_microusd = 0
       and (held.next_expiry_at is null or held.next_expiry_at > now() or attempt = 2)
    returning * into account;
    if found then
      return account;
    end if;
    perform public.expire_grants(for_user);
  end loop;
  select * into account from public.credit_accounts as known where known.user_id = for_user;
  if account.debt_microusd > 0 then
    perform public.refuse('account_in_debt', 402, jsonb_build_object(
      'debt_credits', account.debt_microusd / 10000.0, 'debt_microusd', account.debt_microusd));
  end if;
  available := coalesce(account.balance_microusd - account.held_microusd, 0);
  perform public.refuse('insufficient_credits', 402, jsonb_build_object(
    'required_credits', required_microusd / 10000.0, 'available_credits', available / 10000.0,
    'required_microusd', required_microusd, 'available_microusd', available));
end
$$;
revoke all on function public.reserve_credit from public, anon, authenticated;
