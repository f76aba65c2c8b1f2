-- A card that was detached at Stripe: automatic top-ups are switched off. Answers whether it was somebody's.
create or replace function public.forget_payment_method(payment_method_id text)
returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  owner constant uuid := (
    select customer.user_id from public.stripe_customers as customer
     where customer.payment_method_id = forget_payment_method.payment_method_id);
begin
  if owner is null then
    return false;
  end if;
  perform public.disable_auto_topup(owner, 'card_removed');
  update public.stripe_customers as customer set payment_method_id = null
   where customer.user_id = owner and customer.payment_method_id = forget_payment_method.payment_method_id;
  return found;
end
$$;
revoke all on function public.forget_payment_method from public, anon, authenticated;
grant execute on function public.forget_payment_method to service_role;
