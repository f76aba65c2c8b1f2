-- What a payment is worth now: what was paid, without what was given back or is disputed; never below nothing. What Stripe
-- calls by a word that is not known here counts as given back.
create or replace function public.worth_of_payment(payment public.payments)
returns bigint
language plpgsql stable set search_path = '' as $$
begin
  if payment.state <> 'paid' then
    return 0;
  end if;
  return 10000 * greatest(payment.amount_cents
    - (select coalesce(sum(amount_cents), 0) from public.payment_refunds
        where payment_id = payment.id and status not in ('failed', 'canceled'))
    -- A warning takes no money yet, and one that was prevented none at all. A lost one stays lost while it is appealed.
    - (select coalesce(sum(amount_cents), 0) from public.payment_disputes
        where payment_id = payment.id and status not like 'warning%' and status not in ('won', 'prevented')), 0);
end
$$;
revoke all on function public.worth_of_payment from public, anon, authenticated;
