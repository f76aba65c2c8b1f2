-- On Supabase, by pg_cron: has the function `reconcile-payments` look at the last days. Where nobody ever bought
-- anything, nothing happens.
create or replace function public.request_reconciliation()
returns void
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.stripe_customers) then
    perform public.call_edge_function('reconcile-payments');
  end if;
end
$$;
revoke all on function public.request_reconciliation from public, anon, authenticated;
