-- Named columns: a change of the balance costs nothing here.
create trigger keep_auto_topup_whole
  before insert or update of auto_topup_enabled, auto_topup_amount, auto_topup_threshold, auto_topup_monthly_cap
  on public.users for each row execute function public.keep_auto_topup_whole();

-- On Supabase, where no host has a timer. pg_net calls the functions that charge and reconcile.
do $$
begin
  if exists (select from pg_available_extensions where name = 'pg_cron') then
    create extension if not exists pg_cron;
    perform cron.schedule('darkroom-request-auto-topups', '*/10 * * * *',
      'select public.request_due_auto_topups(null, 100000)');
    if exists (select from pg_available_extensions where name = 'pg_net') then
      create extension if not exists pg_net;
      perform cron.schedule('darkroom-charge-auto-topups', '5 seconds', 'select public.request_auto_topup_charges()');
      perform cron.schedule('darkroom-retry-stripe-events', '* * * * *', 'select public.request_stripe_event_retries()');
      perform cron.schedule('darkroom-reconcile-payments', '17 * * * *', 'select public.request_reconciliation()');
    end if;
  end if;
end
$$;
