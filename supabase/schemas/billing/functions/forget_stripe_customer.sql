-- A customer that Stripe does not know (any more), with the card that was saved: automatic top-ups are switched off,
-- and the next checkout makes another customer. Answers what that one is made with; null when it was unknown here too.
create or replace function public.forget_stripe_customer(customer_id text)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  former public.stripe_customers;
begin
  select * into former from public.stripe_customers as customer
   where customer.customer_id = forget_stripe_customer.customer_id;
  if not found then
    return null;
  end if;
  perform public.disable_auto_topup(former.user_id, 'customer_removed');
  update public.stripe_customers as customer
     set customer_id = null, payment_method_id = null, creation_key = gen_random_uuid(),
         email = (select one.email from public.users as one where one.id = customer.user_id)
   where customer.user_id = former.user_id and customer.customer_id = former.customer_id
  returning * into former;
  return to_jsonb(former);
end
$$;
revoke all on function public.forget_stripe_customer from public, anon, authenticated;
grant execute on function public.forget_stripe_customer to service_role;
