alter table public.credit_accounts enable row level security;
alter table public.credits_ledger enable row level security;
alter table public.credit_grants enable row level security;
alter table public.credit_grant_draws enable row level security;
alter table public.credit_holds enable row level security;
alter table public.paid_calls enable row level security;
alter table public.free_calls enable row level security;
alter table public.spend_caps enable row level security;
alter table public.task_type_prices enable row level security;
alter table public.provider_prices enable row level security;
alter table public.task_quotes enable row level security;
alter table public.promo_codes enable row level security;
alter table public.promo_redemptions enable row level security;
alter table public.welcome_bonuses enable row level security;
alter table public.credit_settings enable row level security;

revoke all on public.credit_accounts, public.credits_ledger, public.credit_grants, public.credit_grant_draws,
  public.credit_holds, public.paid_calls, public.free_calls, public.spend_caps, public.task_type_prices, public.task_quotes,
  public.promo_codes, public.provider_prices,
  public.promo_redemptions, public.welcome_bonuses, public.credit_settings
  from anon, authenticated, service_role;
-- Money moves by functions alone, for the service too.
grant select on public.credit_accounts, public.credits_ledger, public.credit_grants, public.credit_grant_draws,
  public.credit_holds, public.paid_calls, public.free_calls, public.spend_caps, public.task_quotes, public.promo_redemptions
  to authenticated, service_role;
revoke all on public.user_credit_balance from anon, authenticated, service_role;
grant select on public.user_credit_balance to authenticated, service_role;
-- What the operator pays is no tenant's to read.
grant select on public.promo_codes, public.welcome_bonuses, public.provider_prices to service_role;
grant select, update on public.credit_settings to service_role;
grant select on public.task_type_prices to anon, authenticated, service_role;

create policy credit_accounts_select_own on public.credit_accounts for select to authenticated
  using (user_id = (select auth.uid()));
create policy credits_ledger_select_own on public.credits_ledger for select to authenticated
  using (user_id = (select auth.uid()));
create policy credit_grants_select_own on public.credit_grants for select to authenticated
  using (user_id = (select auth.uid()));
create policy credit_grant_draws_select_own on public.credit_grant_draws for select to authenticated
  using (exists (select from public.credit_grants as drawn
                  where drawn.id = grant_id and drawn.user_id = (select auth.uid())));
create policy credit_holds_select_own on public.credit_holds for select to authenticated
  using (user_id = (select auth.uid()));
create policy paid_calls_select_own on public.paid_calls for select to authenticated
  using (user_id = (select auth.uid()));
create policy free_calls_select_own on public.free_calls for select to authenticated
  using (user_id = (select auth.uid()));
create policy task_type_prices_select on public.task_type_prices for select to anon, authenticated
  using (true);
create policy spend_caps_select_own on public.spend_caps for select to authenticated
  using (user_id = (select auth.uid()));
create policy task_quotes_select_own on public.task_quotes for select to authenticated
  using (user_id = (select auth.uid()));
create policy promo_redemptions_select_own on public.promo_redemptions for select to authenticated
  using (user_id = (select auth.uid()));
