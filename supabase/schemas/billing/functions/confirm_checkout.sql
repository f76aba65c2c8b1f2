-- Records what Stripe says of a user's own checkout, and answers whether its credit is there.
create or replace function public.confirm_checkout(for_user uuid, session_id text, facts jsonb)
returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform public.find_checkout(for_user, session_id);
  if facts is not null then
    perform public.record_payment(facts, clock_timestamp());
  end if;
  return jsonb_build_object(
    'credited', exists (
      select from public.payments as payment
        join public.checkout_sessions as session on session.request_id = payment.request_id
       where session.id = session_id and payment.user_id = for_user and payment.state = 'paid'),
    'credits', (select balance_microusd / 10000.0 from public.credit_accounts where user_id = for_user));
end
$$;
revoke all on function public.confirm_checkout from public, anon, authenticated;
grant execute on function public.confirm_checkout to service_role;
