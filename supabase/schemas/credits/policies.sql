alter table public.credit_accounts enable row level security;
alter table public.credits_ledger enable row level security;
alter table public.credit_holds enable row level security;
alter table public.task_type_prices enable row level security;

revoke all on public.credit_accounts, public.credits_ledger, public.credit_holds, public.task_type_prices
  from anon, authenticated, service_role;
-- Money moves by functions alone, for the service too.
grant select on public.credit_accounts, public.credits_ledger, public.credit_holds
  to authenticated, service_role;
grant select on public.task_type_prices to anon, authenticated, service_role;

create policy credit_accounts_select_own on public.credit_accounts for select to authenticated
  using (user_id = (select auth.uid()));
create policy credits_ledger_select_own on public.credits_ledger for select to authenticated
  using (user_id = (select auth.uid()));
create policy credit_holds_select_own on public.credit_holds for select to authenticated
  using (user_id = (select auth.uid()));
create policy task_type_prices_select on public.task_type_prices for select to anon, authenticated
  using (true);
