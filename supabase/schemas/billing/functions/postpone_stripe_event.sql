-- Notes why an event could not be handled now, such as a Stripe API that is down. Maintenance claims it when it is due.
create or replace function public.postpone_stripe_event(event_id text, reason text)
returns void
language plpgsql security definer set search_path = '' as $$
begin
  update public.stripe_events as event
     set reason = case event.state when 'received' then left(postpone_stripe_event.reason, 200) else event.reason end,
         retry_at = greatest(event.retry_at, now() + public.stripe_event_retry_delay(event.attempts))
   where event.id = event_id and event.retry_at is not null;
end
$$;
revoke all on function public.postpone_stripe_event from public, anon, authenticated;
grant execute on function public.postpone_stripe_event to service_role;
