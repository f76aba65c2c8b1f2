-- Holds a page of what Stripe has against what is here, and sets right what is missing here, if told to. `told` are facts as
-- record_payment() takes them, with told_at, as of now.
-- Answers one row for each difference: {fault, subject, details, healed}. What was credited and is not so at Stripe is never
-- undone, but told.
create or replace function public.reconcile_payments(told jsonb, heal boolean)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  facts jsonb;
  payment public.payments;
  fault text;
  faults jsonb := '[]';
  missing text[];
  outcome jsonb;
begin
  for facts in select value from jsonb_array_elements(told) order by value ->> 'payment_intent_id' loop
    fault := null;
    select * into payment from public.payments where payment_intent_id = facts ->> 'payment_intent_id';
    if facts -> 'payment' ->> 'state' = 'paid' then
      update public.payments set reconciled_at = clock_timestamp() where id = payment.id;
      fault := case
        when payment.state is distinct from 'paid' then 'payment_not_recorded'
        when facts -> 'payment' ->> 'currency' = payment.currency
             and (facts -> 'payment' ->> 'amount_cents')::bigint <> payment.amount_cents then 'amount_differs' end;
    elsif facts ? 'payment' and payment.state = 'paid' then
      fault := 'not_paid_at_stripe';
    end if;
    -- Refunds and disputes of other things that the same account sells are nothing of ours.
    if fault is null and payment.id is not null then
      select array_agg(coalesce(refund ->> 'id', '')) into missing
        from jsonb_array_elements(coalesce(facts -> 'refunds', '[]')) as refund
        left join public.payment_refunds as known on known.id = refund ->> 'id'
       where (known.amount_cents, known.status) is distinct from ((refund ->> 'amount_cents')::integer, refund ->> 'status');
      fault := case when missing is not null then 'refund_not_recorded' end;
      if fault is null then
        select array_agg(coalesce(dispute ->> 'id', '')) into missing
          from jsonb_array_elements(coalesce(facts -> 'disputes', '[]')) as dispute
          left join public.payment_disputes as known on known.id = dispute ->> 'id'
         where (known.amount_cents, known.status) is distinct from ((dispute ->> 'amount_cents')::integer, dispute ->> 'status');
        fault := case when missing is not null then 'dispute_not_recorded' end;
      end if;
    end if;
    continue when fault is null;

    outcome := null;
    if fault in ('amount_differs', 'not_paid_at_stripe') then
      outcome := public.quarantine_payment(payment.payment_intent_id, fault, facts);
    elsif heal then
      outcome := public.record_payment(facts, (facts ->> 'told_at')::timestamptz);
      update public.payments set reconciled_at = clock_timestamp()
       where payment_intent_id = facts ->> 'payment_intent_id' and facts -> 'payment' ->> 'state' = 'paid';
    end if;
    faults := faults || jsonb_build_object(
      'fault', fault, 'subject', facts ->> 'payment_intent_id', 'healed', coalesce(outcome ->> 'state' = 'handled', false),
      'details', jsonb_strip_nulls(jsonb_build_object(
        'at_stripe', facts - array['payment_intent_id', 'told_at'], 'here', case when payment.id is not null then
          jsonb_build_object('state', payment.state, 'amount_cents', payment.amount_cents, 'user_id', payment.user_id) end,
        'missing', missing, 'reason', outcome ->> 'reason')));
    missing := null;
  end loop;
  return faults;
end
$$;
revoke all on function public.reconcile_payments from public, anon, authenticated;
grant execute on function public.reconcile_payments to service_role;
