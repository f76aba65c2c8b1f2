-- Asks for an automatic top-up where one is due: called where a balance falls, in that transaction. Answers
-- `requested`, or why not.
-- Guarantees: never makes the change of the balance fail; a user has one open request at most, and one an hour; a
-- month's requests, those that failed left out, stay within its cap.
create or replace function public.request_auto_topup(for_user uuid)
returns text
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  account public.users;
  customer public.stripe_customers;
begin
  -- Locked already where a balance falls: users.credits is written with it.
  select * into account from public.users where id = for_user for no key update;
  if not found then
    return 'unknown_user';
  elsif not account.auto_topup_enabled then
    return 'not_enabled';
  elsif account.credits > account.auto_topup_threshold then
    return 'above_threshold';
  end if;
  select * into customer from public.stripe_customers as known where known.user_id = for_user;
  if customer.payment_method_id is null then
    return 'no_card';
  elsif account.auto_topup_last_triggered > now() - interval '1 hour'
        or exists (select from public.auto_topup_requests as request
                    where request.user_id = for_user and request.state = 'requested') then
    return 'rate_limited';
  end if;
  update public.users set auto_topup_last_triggered = now() where id = for_user;
  if public.topped_up_in_month(for_user) + account.auto_topup_amount > account.auto_topup_monthly_cap then
    perform public.tell_auto_topup(for_user, 'skipped', 'monthly_cap_reached', account.auto_topup_amount);
    return 'monthly_cap_reached';
  end if;
  insert into public.auto_topup_requests (user_id, amount_cents, balance_cents, customer_id, payment_method_id)
  values (for_user, account.auto_topup_amount, account.credits, customer.customer_id, customer.payment_method_id);
  return 'requested';
end
$$;
revoke all on function public.request_auto_topup from public, anon, authenticated;
grant execute on function public.request_auto_topup to service_role;
