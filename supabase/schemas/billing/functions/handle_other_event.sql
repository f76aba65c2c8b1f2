-- What events tell that are not about a payment: a checkout that expired, a card or a customer that is gone.
create or replace function public.handle_other_event(facts jsonb)
returns jsonb
language plpgsql set search_path = '' as $$
begin
  if facts ? 'expired_session' then
    update public.checkout_sessions set status = 'expired'
     where id = facts ->> 'expired_session' and status = 'open';
  elsif facts ? 'detached_card' then
    perform public.forget_payment_method(facts ->> 'detached_card');
  elsif facts ? 'deleted_customer' then
    perform public.forget_stripe_customer(facts ->> 'deleted_customer');
  end if;
  return jsonb_build_object('state', 'handled');
end
$$;
revoke all on function public.handle_other_event from public, anon, authenticated;
