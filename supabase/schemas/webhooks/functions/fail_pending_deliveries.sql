-- Dead-letters whatever waits for an endpoint; its owner can have it sent again. What is being sent keeps its claim,
-- so that its outcome is noted all the same. The caller holds the endpoint's lock.
create or replace function public.fail_pending_deliveries(for_endpoint uuid)
returns void
language sql set search_path = '' as $$
  update public.webhook_deliveries set state = 'failed', next_attempt_at = null
   where endpoint_id = for_endpoint and state = 'pending'
$$;
revoke all on function public.fail_pending_deliveries from public, anon, authenticated;
