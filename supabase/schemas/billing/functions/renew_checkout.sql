-- Makes room for another page of a checkout whose page can no longer be paid: the caller has seen so at Stripe. Answers the
-- checkout as it is then, which another call may have renewed or finished before.
-- Guarantee: a page is replaced once, and never that of a checkout that is paid.
create or replace function public.renew_checkout(for_user uuid, for_request uuid, former_session text)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  customer public.stripe_customers;
  checkout public.checkout_sessions;
begin
  -- The customer first, as where a checkout is opened.
  select * into customer from public.stripe_customers as known where known.user_id = for_user for no key update;
  select * into checkout from public.checkout_sessions as known
   where known.request_id = for_request and known.user_id = for_user for no key update;
  if not found then
    perform public.refuse('checkout_not_found', 404);
  end if;
  if checkout.id = former_session and checkout.status <> 'complete' then
    update public.checkout_sessions as known
       set id = null, url = null, expires_at = null, status = 'open', renewals = known.renewals + 1
     where known.request_id = for_request
    returning * into checkout;
  end if;
  return public.checkout_summary(checkout, customer);
end
$$;
revoke all on function public.renew_checkout from public, anon, authenticated;
grant execute on function public.renew_checkout to service_role;
