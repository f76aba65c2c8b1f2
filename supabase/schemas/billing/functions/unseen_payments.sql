-- Payments of a window that a run of the reconciler, which began at `seen_since`, has not seen at Stripe: a page of their
-- intents, in order.
create or replace function public.unseen_payments(
  from_time timestamptz, to_time timestamptz, seen_since timestamptz, after_intent text, at_most integer
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  return (
    select coalesce(jsonb_agg(unseen.payment_intent_id order by unseen.payment_intent_id), '[]')
      from (select payment_intent_id from public.payments
             where state = 'paid' and paid_at >= from_time and paid_at < to_time
               and (reconciled_at is null or reconciled_at < seen_since)
               and (after_intent is null or payment_intent_id > after_intent)
             order by payment_intent_id limit at_most) as unseen);
end
$$;
revoke all on function public.unseen_payments from public, anon, authenticated;
grant execute on function public.unseen_payments to service_role;
