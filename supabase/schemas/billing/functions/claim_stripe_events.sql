-- Gives maintenance the events that are due: those that were stored and not handled, and those whose card could not be
-- saved. At most so many, the longest due first, as {id, body}.
-- Guarantees: an event is not given out again before its next attempt is due. After 48 attempts, two days, an event that
-- could not be handled is quarantined, and either kind raises an alert.
create or replace function public.claim_stripe_events(at_most integer)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  most_attempts constant integer := 48;
  event public.stripe_events;
  claimed jsonb := '[]';
begin
  for event in
    select * from public.stripe_events where retry_at <= now() order by retry_at limit at_most
       for no key update skip locked
  loop
    if event.attempts < most_attempts then
      update public.stripe_events
         set attempts = attempts + 1, retry_at = now() + public.stripe_event_retry_delay(attempts + 1)
       where id = event.id;
      claimed := claimed || jsonb_build_object('id', event.id, 'body', event.body);
      continue;
    end if;
    perform public.quarantine_payment(
      coalesce(event.payment_intent_id, event.id),
      case event.state when 'received' then 'handling_failed' else 'card_not_saved' end,
      jsonb_build_object('event_id', event.id, 'type', event.type, 'last_failure', event.reason));
    if event.state = 'received' then
      update public.stripe_events
         set state = 'quarantined', reason = 'handling_failed', handled_at = now(), retry_at = null where id = event.id;
    else
      update public.stripe_events set retry_at = null where id = event.id;
    end if;
  end loop;
  return claimed;
end
$$;
revoke all on function public.claim_stripe_events from public, anon, authenticated;
grant execute on function public.claim_stripe_events to service_role;
