-- Stores an event before anything is done about it. Answers its state: what is `received` is to be handled, all else was.
create or replace function public.receive_stripe_event(event jsonb, payment_intent_id text)
returns text
language plpgsql security definer set search_path = '' as $$
declare
  stored public.stripe_events;
begin
  insert into public.stripe_events as known
    (id, type, payment_intent_id, livemode, account, api_version, payload, event_created_at)
  values (event ->> 'id', event ->> 'type', receive_stripe_event.payment_intent_id, (event ->> 'livemode')::boolean,
          event ->> 'account', event ->> 'api_version', event, to_timestamp((event ->> 'created')::bigint))
  on conflict (id) do update set deliveries = known.deliveries + 1
  returning * into stored;
  return stored.state;
end
$$;
revoke all on function public.receive_stripe_event from public, anon, authenticated;
grant execute on function public.receive_stripe_event to service_role;
