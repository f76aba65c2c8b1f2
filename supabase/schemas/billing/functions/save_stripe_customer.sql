-- Notes the customer that Stripe made for this key. Answers the one to use: the first noted wins.
create or replace function public.save_stripe_customer(for_user uuid, for_creation uuid, customer_id text)
returns text
language plpgsql security definer set search_path = '' as $$
declare
  known public.stripe_customers;
begin
  update public.stripe_customers as customer set customer_id = save_stripe_customer.customer_id
   where customer.user_id = for_user and customer.creation_key = for_creation and customer.customer_id is null;
  select * into known from public.stripe_customers as customer where customer.user_id = for_user;
  return known.customer_id;
end
$$;
revoke all on function public.save_stripe_customer from public, anon, authenticated;
grant execute on function public.save_stripe_customer to service_role;
