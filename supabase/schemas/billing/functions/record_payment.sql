-- The one writer of payments, for events, the runner of automatic top-ups and the reconciler alike: adds what is told of a
-- payment to what is known, and brings the ledger up to it.
-- `facts`: {payment_intent_id, payment?: {state, amount_cents, currency, user_id, purpose, request_id, session_id},
-- refunds?: [{id, amount_cents, currency, status, told_at?}], disputes?: the same}; told_at is when that was so.
-- Guarantees: in any order and however often, the same facts come to the same state; a payment that does not fit what
-- was asked for credits nothing. Refunds and disputes in another currency are never counted as cents of ours.
-- Locks: the payment, the account, the person.
create or replace function public.record_payment(facts jsonb, told_at timestamptz)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  told constant jsonb := facts -> 'payment';
  payment public.payments;
  misfit text;
begin
  if exists (
    select from jsonb_array_elements(coalesce(facts -> 'refunds', '[]') || coalesce(facts -> 'disputes', '[]')) as taken
     where taken ->> 'currency' <> 'usd') then
    -- Of a payment that is not ours they are nothing of ours.
    if exists (select from public.payments as known
                where known.payment_intent_id = facts ->> 'payment_intent_id' and known.user_id is not null) then
      return public.quarantine_payment(facts ->> 'payment_intent_id', 'wrong_currency', facts);
    end if;
    return jsonb_build_object('state', 'ignored', 'reason', 'of_no_interest');
  end if;
  insert into public.payments (payment_intent_id) values (facts ->> 'payment_intent_id')
  on conflict (payment_intent_id) do nothing;
  select * into payment from public.payments
   where payment_intent_id = facts ->> 'payment_intent_id' for no key update;

  insert into public.payment_refunds as known (id, payment_id, amount_cents, status, told_at)
  select refund ->> 'id', payment.id, (refund ->> 'amount_cents')::integer, refund ->> 'status',
         coalesce((refund ->> 'told_at')::timestamptz, record_payment.told_at)
    from jsonb_array_elements(coalesce(facts -> 'refunds', '[]')) as refund order by refund ->> 'id'
  on conflict (id) do update
    set amount_cents = excluded.amount_cents, status = excluded.status, told_at = excluded.told_at
    where (known.told_at, public.refund_rank(known.status), known.status, known.amount_cents)
        < (excluded.told_at, public.refund_rank(excluded.status), excluded.status, excluded.amount_cents);
  insert into public.payment_disputes as known (id, payment_id, amount_cents, status, told_at)
  select dispute ->> 'id', payment.id, (dispute ->> 'amount_cents')::integer, dispute ->> 'status',
         coalesce((dispute ->> 'told_at')::timestamptz, record_payment.told_at)
    from jsonb_array_elements(coalesce(facts -> 'disputes', '[]')) as dispute order by dispute ->> 'id'
  on conflict (id) do update
    set amount_cents = excluded.amount_cents, status = excluded.status, told_at = excluded.told_at
    where (known.told_at, public.dispute_rank(known.status), known.status, known.amount_cents)
        < (excluded.told_at, public.dispute_rank(excluded.status), excluded.status, excluded.amount_cents);

  if told is not null and payment.state <> 'paid' then
    misfit := public.payment_misfit(payment.id, told);
    if misfit is not null then
      -- Only who has paid has something to be sorted out.
      if told ->> 'state' <> 'paid' then
        return jsonb_build_object('state', 'ignored', 'reason', misfit);
      end if;
      return public.quarantine_payment(payment.payment_intent_id, misfit, facts);
    end if;
    begin
      update public.payments
         set user_id = (told ->> 'user_id')::uuid, purpose = (told ->> 'purpose')::public.payment_purpose,
             request_id = case when told ->> 'state' = 'paid' then (told ->> 'request_id')::uuid end, amount_cents = (told ->> 'amount_cents')::integer,
             state = (told ->> 'state')::public.payment_state,
             paid_at = case when told ->> 'state' = 'paid' then record_payment.told_at end, updated_at = now()
       where id = payment.id
         -- A late word of waiting undoes no failure; it may be tried again, and then it is paid.
         and not (payment.state = 'failed' and told ->> 'state' = 'pending');
    exception when unique_violation then
      -- Another payment of the same request, told at the same time.
      return public.quarantine_payment(payment.payment_intent_id, 'paid_twice', facts);
    end;
  elsif told ->> 'state' = 'paid' then
    -- Whoever tells it first, it was paid at the same time.
    update public.payments set paid_at = least(paid_at, record_payment.told_at) where id = payment.id;
  end if;
  perform public.credit_payment(
    payment.payment_intent_id, case when facts ? 'disputes' then 'dispute' else 'refund' end::public.ledger_entry_type);
  if told ->> 'state' = 'paid' then
    perform public.close_payment_request(told, facts ->> 'payment_intent_id');
    -- A customer who paid in a currency of their own: the intent names that currency, its session names ours.
    update public.billing_alerts as alert set state = 'released', note = 'settled by another event', closed_at = now()
     where alert.subject = facts ->> 'payment_intent_id' and alert.reason = 'wrong_currency' and alert.state = 'open'
       and alert.details ? 'payment';
  end if;
  return jsonb_build_object('state', 'handled');
end
$$;
revoke all on function public.record_payment from public, anon, authenticated;
grant execute on function public.record_payment to service_role;
