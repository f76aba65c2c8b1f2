-- On Supabase, by pg_cron: has the function `reconcile-payments`, which begins with them, handle the events that are due.
-- Where none is, nothing happens.
create or replace function public.request_stripe_event_retries()
returns void
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.stripe_events where retry_at <= now()) then
    perform public.call_edge_function('reconcile-payments');
  end if;
end
$$;
revoke all on function public.request_stripe_event_retries from public, anon, authenticated;
