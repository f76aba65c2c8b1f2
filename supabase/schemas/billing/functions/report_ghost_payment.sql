-- A payment that was credited here and that Stripe does not know: told, never undone by itself.
create or replace function public.report_ghost_payment(for_intent text)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  payment public.payments;
begin
  select * into payment from public.payments where payment_intent_id = for_intent;
  perform public.quarantine_payment(for_intent, 'unknown_at_stripe', to_jsonb(payment));
  return jsonb_build_object(
    'fault', 'unknown_at_stripe', 'subject', for_intent, 'healed', false, 'details', jsonb_build_object(
      'here', jsonb_build_object('state', payment.state, 'amount_cents', payment.amount_cents, 'user_id', payment.user_id)));
end
$$;
revoke all on function public.report_ghost_payment from public, anon, authenticated;
grant execute on function public.report_ghost_payment to service_role;
