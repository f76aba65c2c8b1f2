create trigger credits_ledger_keeps_its_rows before update or delete on public.credits_ledger
  for each row execute function public.refuse_ledger_change();
create trigger credits_ledger_keeps_all_rows before truncate on public.credits_ledger
  for each statement execute function public.refuse_ledger_change();
create trigger grant_draws_are_kept before update or delete on public.credit_grant_draws
  for each row execute function public.refuse_ledger_change();
create trigger all_grant_draws_are_kept before truncate on public.credit_grant_draws
  for each statement execute function public.refuse_ledger_change();
create trigger show_balance after update of balance_microusd on public.credit_accounts
  for each row when (old.balance_microusd is distinct from new.balance_microusd)
  execute function public.show_balance();
