-- Keeps the card that was saved when a checkout was paid, and switches automatic top-ups on as that checkout asked, once.
-- For a customer that is not this user's, or a checkout older than the one of the card that is kept, nothing changes.
-- Answers whether the card is the one that is kept now.
create or replace function public.save_payment_method(
  for_user uuid, customer_id text, payment_method_id text, for_session text default null
) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  kept public.stripe_customers;
  asked public.checkout_sessions;
begin
  -- The person first: their balance, and so their account, may be locked by whoever asks for a top-up.
  perform from public.users as one where one.id = for_user for no key update;
  if not found then
    return false;
  end if;
  insert into public.stripe_customers (user_id, customer_id) values (for_user, save_payment_method.customer_id)
      on conflict (user_id) do update set customer_id = coalesce(public.stripe_customers.customer_id, excluded.customer_id)
  returning * into kept;
  if kept.customer_id <> save_payment_method.customer_id then
    return false;
  end if;
  select * into asked from public.checkout_sessions as session
   where session.id = for_session and session.user_id = for_user for no key update;
  if coalesce(asked.created_at, now()) < kept.card_asked_for_at then
    return kept.payment_method_id = save_payment_method.payment_method_id;
  end if;
  update public.stripe_customers as customer
     set payment_method_id = save_payment_method.payment_method_id, card_asked_for_at = coalesce(asked.created_at, now())
   where customer.user_id = for_user;
  update public.users set auto_topup_setup_completed = true where id = for_user and not auto_topup_setup_completed;
  if asked.auto_topup_amount_cents is not null and asked.auto_topup_applied_at is null then
    update public.checkout_sessions set auto_topup_applied_at = now() where request_id = asked.request_id;
    update public.users
       set auto_topup_enabled = true, auto_topup_amount = asked.auto_topup_amount_cents,
           auto_topup_threshold = asked.auto_topup_threshold_cents,
           auto_topup_monthly_cap = asked.auto_topup_monthly_cap_cents, auto_topup_disabled_reason = null
     where id = for_user;
  end if;
  return true;
end
$$;
revoke all on function public.save_payment_method from public, anon, authenticated;
grant execute on function public.save_payment_method to service_role;
