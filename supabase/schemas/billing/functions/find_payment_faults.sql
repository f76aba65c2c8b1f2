-- What is wrong with payments, from the tables alone: one row for each fault.
create or replace function public.find_payment_faults()
returns table (rule text, user_id uuid, row_id text, details jsonb)
language sql stable set search_path = '' as $$
  with booked as (
    -- The customer's side and what they owe for it, without what was collected of a debt later.
    select entry.payment_id, count(*) as entries, -sum(entry.purchases_microusd) as credited
      from public.credits_ledger as entry where entry.payment_id is not null group by entry.payment_id
  )
  select 'payment_not_credited', payment.user_id, payment.payment_intent_id, jsonb_build_object(
         'worth_microusd', public.worth_of_payment(payment), 'credited_microusd', payment.credited_microusd,
         'booked_microusd', coalesce(booked.credited, 0))
    from public.payments as payment left join booked on booked.payment_id = payment.id
   where public.worth_of_payment(payment) <> payment.credited_microusd
      or payment.credited_microusd <> coalesce(booked.credited, 0)
      or payment.entries <> coalesce(booked.entries, 0)
  union all
  select 'entry_without_payment', entry.user_id, entry.id::text, jsonb_build_object('payment_id', entry.payment_id)
    from public.credits_ledger as entry
    left join public.payments as payment on payment.id = entry.payment_id and payment.user_id = entry.user_id
   where entry.type in ('stripe', 'auto_topup') and payment.id is null
      or entry.payment_id is not null and payment.id is null
  union all
  select 'paid_but_still_open', request.user_id, request.id::text, jsonb_build_object('state', request.state)
    from public.auto_topup_requests as request join public.payments as payment on payment.request_id = request.id
   where payment.state = 'paid' and request.state <> 'succeeded'
  union all
  select 'topped_up_without_payment', request.user_id, request.id::text, jsonb_build_object('payment_intent_id', request.payment_intent_id)
    from public.auto_topup_requests as request
   where request.state = 'succeeded' and request.closed_at < now() - interval '5 minutes'
     and not exists (select from public.payments as payment
                      where payment.request_id = request.id and payment.state = 'paid')
  union all
  select 'event_not_handled', null, event.id, jsonb_build_object('type', event.type, 'received_at', event.received_at)
    from public.stripe_events as event
   where event.state = 'received' and event.received_at < now() - interval '1 hour'
  union all
  select 'event_without_effect', null, event.id, jsonb_build_object('type', event.type)
    from public.stripe_events as event
   where event.state = 'handled' and event.payment_intent_id is not null
     and not exists (select from public.payments as payment where payment.payment_intent_id = event.payment_intent_id)
  union all
  select 'quarantined_without_alert', null, event.id, jsonb_build_object('type', event.type, 'reason', event.reason)
    from public.stripe_events as event
   where event.state = 'quarantined'
     and not exists (select from public.billing_alerts as alert
                      where alert.subject in (event.id, event.payment_intent_id) and alert.reason = event.reason)
$$;
revoke all on function public.find_payment_faults from public, anon, authenticated;
