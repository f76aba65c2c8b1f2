-- The paid checkout of a payment that asked for automatic top-ups and whose card is not kept yet; else nothing.
create or replace function public.unkept_card(payment_intent_id text)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return coalesce((
    select jsonb_build_object('card_wanted', jsonb_build_object('session_id', session.id, 'user_id', session.user_id))
      from public.payments as payment
      join public.checkout_sessions as session on session.request_id = payment.request_id
     where payment.payment_intent_id = unkept_card.payment_intent_id and payment.state = 'paid'
       and session.auto_topup_amount_cents is not null and session.auto_topup_applied_at is null), '{}');
end
$$;
revoke all on function public.unkept_card from public, anon, authenticated;
