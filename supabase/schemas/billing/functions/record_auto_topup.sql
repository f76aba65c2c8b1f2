-- Notes what came of charging a request; answers its state.
--   succeeded  paid by this intent
--   declined   the card will not do; automatic top-ups are switched off for this reason
--   failed     nothing was paid, another may be tried at the next occasion
--   pending    not known yet, or to be tried again after a while
-- Guarantees: that it was paid is noted whoever says so, also after it was given up; anything else only by the claim
-- that is current. The same twice changes nothing.
create or replace function public.record_auto_topup(
  for_request uuid, outcome text, payment_intent_id text default null, reason text default null,
  for_claim uuid default null
) returns text
language plpgsql security definer set search_path = '' as $$
declare
  request public.auto_topup_requests;
  owner uuid;
begin
  -- The person before the request, as where a balance falls.
  select one.user_id into owner from public.auto_topup_requests as one where one.id = for_request;
  perform from public.users as account where account.id = owner for no key update;
  select * into request from public.auto_topup_requests as one where one.id = for_request for no key update;
  if not found or request.state = 'succeeded' then
    return request.state;
  end if;
  if outcome = 'succeeded' then
    update public.auto_topup_requests as one
       set state = 'succeeded', payment_intent_id = record_auto_topup.payment_intent_id, reason = null,
           closed_at = now(), next_attempt_at = null, claim_id = null
     where one.id = for_request;
    perform public.tell_auto_topup(request.user_id, 'succeeded', null, request.amount_cents);
    return 'succeeded';
  end if;
  if request.state <> 'requested' or request.claim_id is distinct from for_claim then
    return request.state;
  end if;
  if outcome = 'pending' then
    update public.auto_topup_requests as one
       set payment_intent_id = coalesce(record_auto_topup.payment_intent_id, one.payment_intent_id),
           reason = record_auto_topup.reason, claim_id = null,
           next_attempt_at = now() + public.auto_topup_retry_delay(one.attempts)
     where one.id = for_request;
    return 'requested';
  end if;
  update public.auto_topup_requests as one
     set state = outcome::public.auto_topup_state, reason = record_auto_topup.reason, claim_id = null,
         payment_intent_id = coalesce(record_auto_topup.payment_intent_id, one.payment_intent_id),
         closed_at = now(), next_attempt_at = null
   where one.id = for_request;
  if outcome = 'declined' then
    perform public.disable_auto_topup(request.user_id, record_auto_topup.reason);
  else
    perform public.tell_auto_topup(request.user_id, 'failed', record_auto_topup.reason, request.amount_cents);
  end if;
  return outcome;
end
$$;
revoke all on function public.record_auto_topup from public, anon, authenticated;
grant execute on function public.record_auto_topup to service_role;
