-- Brings the ledger up to what a payment is worth: adds what is missing, takes back what is too much, which the statement
-- calls by its cause, `refund` or `dispute`. The caller holds the payment's lock.
-- Guarantees: who disputes a payment, or was given back all of an automatic one, is not charged automatically again
-- until they ask for it.
create or replace function public.credit_payment(for_intent text, cause public.ledger_entry_type)
returns void
language plpgsql set search_path = '' as $$
declare
  payment public.payments;
  worth bigint;
  difference bigint;
  entry_key text;
  metadata jsonb;
begin
  select * into payment from public.payments where payment_intent_id = for_intent;
  worth := public.worth_of_payment(payment);
  difference := worth - payment.credited_microusd;
  if difference = 0 then
    return;
  end if;
  entry_key := format('payment:%s:%s', payment.id, payment.entries + 1);
  metadata := jsonb_build_object(
    'payment_id', payment.id, 'stripe_payment_intent_id', payment.payment_intent_id, 'purpose', payment.purpose,
    'amount_paid', payment.amount_cents, 'currency', payment.currency, 'worth_microusd', worth,
    'dollar_amount', payment.amount_cents / 100.0)
    || coalesce((select jsonb_build_object('stripe_session_id', id) from public.checkout_sessions
                  where request_id = payment.request_id and id is not null), '{}');
  update public.payments
     set credited_microusd = worth, entries = entries + 1, updated_at = now() where id = payment.id;
  if difference > 0 then
    perform public.add_credit(
      payment.user_id,
      case when payment.entries > 0 then cause
           when payment.purpose = 'checkout' then 'stripe' else 'auto_topup' end,
      difference, entry_key, metadata, payment.id);
  else
    perform public.take_back_credit(payment.user_id, cause, -difference, entry_key, metadata, payment.id);
    -- After the account, whose lock comes first. A request that the lower balance has just made is cancelled when it is due.
    if cause = 'dispute' then
      perform public.disable_auto_topup(payment.user_id, 'payment_disputed');
    elsif worth = 0 and payment.purpose = 'auto_topup' then
      perform public.disable_auto_topup(payment.user_id, 'payment_refunded');
    end if;
  end if;
end
$$;
revoke all on function public.credit_payment from public, anon, authenticated;
