-- What a user has: in all, held, available, owed; what of it was given away, and what expires when.
create or replace function public.credit_balance(for_user uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  account public.credit_accounts;
begin
  select * into account from public.credit_accounts where user_id = for_user;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  return (
    select jsonb_build_object(
      'user_id', for_user,
      'credits', account.balance_microusd / 10000.0, 'balance_microusd', account.balance_microusd,
      'held', account.held_microusd / 10000.0, 'held_microusd', account.held_microusd,
      'available', (account.balance_microusd - greatest(account.held_microusd, over_microusd)) / 10000.0,
      'available_microusd', account.balance_microusd - greatest(account.held_microusd, over_microusd),
      'debt', account.debt_microusd / 10000.0, 'debt_microusd', account.debt_microusd,
      'paid_microusd', paid_microusd, 'promotional_microusd', account.balance_microusd - paid_microusd,
      'expiring', expiring,
      'low_balance_threshold', (select low_balance_threshold from public.users where id = for_user))
      from (select coalesce(sum(remaining_microusd) filter (where category = 'paid'), 0)::bigint as paid_microusd,
                   coalesce(sum(remaining_microusd) filter (where expires_at <= now()), 0)::bigint as over_microusd,
                   coalesce(jsonb_agg(jsonb_build_object(
                     'amount', remaining_microusd / 10000.0, 'amount_microusd', remaining_microusd,
                     'expires_at', expires_at) order by expires_at, id)
                     filter (where expires_at > now()), '[]') as expiring
              from public.credit_grants where user_id = for_user and is_open) as granted);
end
$$;
revoke all on function public.credit_balance from public, anon, authenticated;
grant execute on function public.credit_balance to service_role;
