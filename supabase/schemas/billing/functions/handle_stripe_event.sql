-- Does what an event says, once: what it tells is recorded, and the event is marked in the same transaction. `facts` are
-- what record_payment() or handle_other_event() takes, null where the event is about nothing of ours. `refusal` is a
-- reason to quarantine the event; then `facts` only name its payment, and `details` say what is wrong.
-- Guarantee: values that the tables refuse quarantine the event. They undo nothing but this event's own writes.
-- Answers {state, reason?, card_wanted?}; card_wanted names the checkout whose card is to be saved.
create or replace function public.handle_stripe_event(
  event_id text, facts jsonb, refusal text default null, details jsonb default '{}'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  event public.stripe_events;
  subject text;
  outcome jsonb;
  card_wanted jsonb;
begin
  select * into event from public.stripe_events where id = event_id for no key update;
  if not found then
    raise exception 'event % was not stored', event_id;
  end if;
  if event.state in ('handled', 'ignored') then
    card_wanted := public.unkept_card(event.payment_intent_id);
    if event.retry_at is not null and card_wanted = '{}' then
      update public.stripe_events set retry_at = null where id = event.id;
    end if;
    return jsonb_build_object('state', event.state, 'reason', event.reason) || card_wanted;
  end if;
  event.payment_intent_id := coalesce(facts ->> 'payment_intent_id', event.payment_intent_id);
  subject := coalesce(event.payment_intent_id, event.id);
  details := jsonb_build_object('event_id', event.id, 'type', event.type) || details;
  begin
    outcome := case
      when refusal is not null then public.quarantine_payment(subject, refusal, details)
      when facts is null then jsonb_build_object('state', 'ignored', 'reason', 'of_no_interest')
      when not facts ? 'payment_intent_id' then public.handle_other_event(facts)
      else public.record_payment(
        facts, coalesce((facts ->> 'told_at')::timestamptz, event.event_created_at, event.received_at)) end;
  exception when data_exception or integrity_constraint_violation then
    outcome := public.quarantine_payment(
      subject, 'unreadable_event', details || jsonb_build_object('sqlstate', sqlstate));
  end;
  card_wanted := public.unkept_card(event.payment_intent_id);
  update public.stripe_events
     set state = (outcome ->> 'state')::public.stripe_event_state, reason = outcome ->> 'reason', handled_at = now(),
         payment_intent_id = event.payment_intent_id, attempts = 0,
         retry_at = case when card_wanted <> '{}' then now() + public.stripe_event_retry_delay(0) end
   where id = event.id;
  return outcome || card_wanted;
end
$$;
revoke all on function public.handle_stripe_event from public, anon, authenticated;
grant execute on function public.handle_stripe_event to service_role;
