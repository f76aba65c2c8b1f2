-- Named columns: a change of the balance costs nothing here.
create trigger keep_auto_topup_whole
  before insert or update of auto_topup_enabled, auto_topup_amount, auto_topup_threshold, auto_topup_monthly_cap
  on public.users for each row execute function public.keep_auto_topup_whole();
