-- Gives whoever charges the requests that are due, or those of one user: at most so many.
-- Guarantees: nothing is given to two within the lease, after which the first has died. A request that was never
-- tried and is not wanted any more (switched off, another card) is cancelled. `look_up` says that nothing more may be
-- charged: it was tried as often as makes sense, or is not wanted any more, so only what became of it is to be found.
create or replace function public.claim_auto_topups(at_most integer, for_user uuid default null)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  lease constant interval := '3 minutes';
  claimed jsonb;
begin
  with due as (
    select request.id, (account.auto_topup_enabled and customer.payment_method_id = request.payment_method_id)
             is not true as unwanted
      from public.auto_topup_requests as request
      left join public.users as account on account.id = request.user_id
      left join public.stripe_customers as customer on customer.user_id = request.user_id
     where request.state = 'requested' and request.next_attempt_at <= now()
       and (claim_auto_topups.for_user is null or request.user_id = claim_auto_topups.for_user)
     order by request.next_attempt_at limit at_most
       for no key update of request skip locked
  ), cancelled as (
    update public.auto_topup_requests as request
       set state = 'cancelled', reason = 'not_wanted', closed_at = now(), next_attempt_at = null
      from due where request.id = due.id and due.unwanted and request.attempts = 0
  ), taken as (
    update public.auto_topup_requests as request
       set claim_id = gen_random_uuid(), next_attempt_at = now() + lease, attempts = request.attempts + 1
      from due where request.id = due.id and not (due.unwanted and request.attempts = 0)
    returning request.*, due.unwanted or request.attempts > 6 as look_up
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'id', taken.id, 'claim_id', taken.claim_id, 'user_id', taken.user_id, 'amount_cents', taken.amount_cents,
           'balance_cents', taken.balance_cents, 'customer_id', taken.customer_id,
           'payment_method_id', taken.payment_method_id, 'payment_intent_id', taken.payment_intent_id,
           'look_up', taken.look_up, 'created_at', taken.created_at)), '[]')
    into claimed from taken;
  return claimed;
end
$$;
revoke all on function public.claim_auto_topups from public, anon, authenticated;
grant execute on function public.claim_auto_topups to service_role;
