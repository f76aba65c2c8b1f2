create or replace function public.reserve_credit(for_user uuid, required_microusd bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  available bigint;
begin
  update public.credit_accounts as account
     set held_microusd = account.held_microusd + required_microusd
   where account.user_id = for_user
     and account.balance_microusd - account.held_microusd >= required_microusd;
  if not found then
    select account.balance_microusd - account.held_microusd into available
      from public.credit_accounts as account where account.user_id = for_user;
    perform public.refuse('insufficient_credits', 402, jsonb_build_object(
      'required_credits', required_microusd / 10000.0, 'available_credits', coalesce(available, 0) / 10000.0,
      'required_microusd', required_microusd, 'available_microusd', coalesce(available, 0)));
  end if;
end
$$;
revoke all on function public.reserve_credit from public, anon, authenticated;
