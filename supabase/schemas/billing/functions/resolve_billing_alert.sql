-- An operator has looked at an alert. `retry` releases its events to be handled again, after what was wrong has been set
-- right; `dismiss` leaves them quarantined. Answers the alert and the events to handle again, as {id, body}.
create or replace function public.resolve_billing_alert(for_alert uuid, resolution text, note text)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  alert public.billing_alerts;
  again text[] := '{}';
begin
  update public.billing_alerts as one
     set state = case resolution when 'retry' then 'released' else 'dismissed' end::public.alert_state,
         note = resolve_billing_alert.note, closed_at = now()
   where one.id = for_alert and one.state = 'open'
  returning * into alert;
  if not found then
    perform public.refuse('alert_not_found', 404);
  end if;
  if resolution = 'retry' then
    with released as (
      update public.stripe_events as event
         set state = case event.state when 'quarantined' then 'received' else event.state end,
             reason = case event.state when 'quarantined' then null else event.reason end,
             handled_at = case event.state when 'quarantined' then null else event.handled_at end,
             attempts = 0, retry_at = now() + public.stripe_event_retry_delay(0)
       where alert.subject in (event.id, event.payment_intent_id)
         and (event.state = 'quarantined' or event.state = 'handled' and alert.reason = 'card_not_saved')
      returning event.id, event.event_created_at
    )
    select coalesce(array_agg(released.id order by released.event_created_at, released.id), '{}') into again from released;
  end if;
  return jsonb_build_object(
    'alert', to_jsonb(alert), 'events', (
      select coalesce(jsonb_agg(jsonb_build_object('id', event.id, 'body', event.body)
               order by event.event_created_at, event.id), '[]')
        from public.stripe_events as event where event.id = any (again)));
end
$$;
revoke all on function public.resolve_billing_alert from public, anon, authenticated;
grant execute on function public.resolve_billing_alert to service_role;
