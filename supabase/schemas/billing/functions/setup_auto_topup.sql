-- Switches automatic top-ups on or off. Off keeps the card. On at a balance that is low already asks for one at once.
-- Without a cap, the one before stays, if it still covers a payment; else ten payments a month.
create or replace function public.setup_auto_topup(
  for_user uuid, enabled boolean, amount_cents integer default null, threshold_cents integer default null,
  monthly_cap_cents integer default null
) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  account public.users;
begin
  select * into account from public.users where id = for_user for no key update;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  update public.users
     set auto_topup_enabled = setup_auto_topup.enabled,
         auto_topup_amount = case when setup_auto_topup.enabled then setup_auto_topup.amount_cents end,
         auto_topup_threshold = case when setup_auto_topup.enabled then setup_auto_topup.threshold_cents end,
         auto_topup_monthly_cap = case
           when not setup_auto_topup.enabled then auto_topup_monthly_cap
           when setup_auto_topup.monthly_cap_cents is not null then setup_auto_topup.monthly_cap_cents
           when auto_topup_monthly_cap >= setup_auto_topup.amount_cents then auto_topup_monthly_cap
           else setup_auto_topup.amount_cents * 10 end,
         auto_topup_disabled_reason = null
   where id = for_user
  returning * into account;
  if account.auto_topup_enabled then
    perform public.request_auto_topup(for_user);
  end if;
  return jsonb_build_object(
    'success', true,
    'message', case when account.auto_topup_enabled then 'Auto-top-up enabled' else 'Auto-top-up disabled' end,
    'auto_topup_enabled', account.auto_topup_enabled,
    'auto_topup_amount', account.auto_topup_amount,
    'auto_topup_threshold', account.auto_topup_threshold,
    'auto_topup_monthly_cap', account.auto_topup_monthly_cap,
    'auto_topup_setup_completed', account.auto_topup_setup_completed);
end
$$;
revoke all on function public.setup_auto_topup from public, anon, authenticated;
grant execute on function public.setup_auto_topup to service_role;
