-- What a payment is worth now: what was paid, without what was given back or is disputed; never below nothing.
create or replace function public.worth_of_payment(payment public.payments)
returns bigint
language plpgsql stable set search_path = '' as $$
begin
  if payment.state <> 'paid' then
    return 0;
  end if;
  return 10000 * greatest(payment.amount_cents
    - (select coalesce(sum(amount_cents), 0) from public.payment_refunds
        where payment_id = payment.id and status in ('pending', 'requires_action', 'succeeded'))
    -- A warning takes no money yet.
    - (select coalesce(sum(amount_cents), 0) from public.payment_disputes
        where payment_id = payment.id and status in ('needs_response', 'under_review', 'lost')), 0);
end
$$;
revoke all on function public.worth_of_payment from public, anon, authenticated;
