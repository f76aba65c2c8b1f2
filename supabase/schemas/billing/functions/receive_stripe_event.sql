-- Stores an event, in a transaction of its own, before it is interpreted. Answers its state: `received` is still to be
-- handled, any other state says what became of an earlier delivery. An event that is stored is retried by maintenance
-- until it is handled or quarantined.
create or replace function public.receive_stripe_event(
  event_id text, event_type text, body text, livemode boolean default null, account text default null,
  api_version text default null, event_created_at timestamptz default null
) returns text
language plpgsql security definer set search_path = '' as $$
declare
  stored public.stripe_events;
begin
  insert into public.stripe_events as known
    (id, type, livemode, account, api_version, body, event_created_at, retry_at)
  values (event_id, event_type, receive_stripe_event.livemode, receive_stripe_event.account,
          receive_stripe_event.api_version, receive_stripe_event.body, receive_stripe_event.event_created_at,
          now() + public.stripe_event_retry_delay(0))
  on conflict (id) do update set deliveries = known.deliveries + 1
  returning * into stored;
  return stored.state;
end
$$;
revoke all on function public.receive_stripe_event from public, anon, authenticated;
grant execute on function public.receive_stripe_event to service_role;
