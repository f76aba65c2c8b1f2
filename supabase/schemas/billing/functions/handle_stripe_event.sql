-- Does what an event says, once: what it tells is recorded, and the event is marked in the same transaction. `facts` are
-- what record_payment() or handle_other_event() takes, null where the event is about nothing of ours; `refusal` is a reason
-- to quarantine it unread.
-- Answers {state, reason?, card_wanted?}; card_wanted names the checkout whose card is to be kept.
create or replace function public.handle_stripe_event(event_id text, facts jsonb, refusal text default null)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  event public.stripe_events;
  outcome jsonb;
begin
  select * into event from public.stripe_events where id = event_id for no key update;
  if not found then
    raise exception 'event % was not stored', event_id;
  end if;
  if event.state in ('handled', 'ignored') then
    return jsonb_build_object('state', event.state, 'reason', event.reason)
           || public.unkept_card(event.payment_intent_id);
  end if;
  outcome := case
    when refusal is not null then public.quarantine_payment(
      coalesce(event.payment_intent_id, event.id), refusal, jsonb_build_object('event_id', event.id, 'type', event.type))
    when facts is null then jsonb_build_object('state', 'ignored', 'reason', 'of_no_interest')
    when not facts ? 'payment_intent_id' then public.handle_other_event(facts)
    else public.record_payment(facts, event.event_created_at) end;
  update public.stripe_events
     set state = (outcome ->> 'state')::public.stripe_event_state, reason = outcome ->> 'reason', handled_at = now()
   where id = event.id;
  return outcome || public.unkept_card(event.payment_intent_id);
end
$$;
revoke all on function public.handle_stripe_event from public, anon, authenticated;
grant execute on function public.handle_stripe_event to service_role;
