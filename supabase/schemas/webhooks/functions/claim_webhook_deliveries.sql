-- Gives a sender what is due, with everything it needs to send it: at most so many, the endpoints taking turns.
-- Guarantees: nothing is given to two senders within a minute, after which the first has died; an endpoint has at
-- most four on their way, and one while it fails, however many senders there are, so that a slow one holds up
-- none but itself. Nothing due costs one index probe.
create or replace function public.claim_webhook_deliveries(at_most integer default 50)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  lease constant interval := '1 minute';
  locked public.webhook_endpoints[];
  claimed jsonb;
begin
  if not exists (select from public.webhook_deliveries where state = 'pending' and next_attempt_at <= now()) then
    return '[]';
  end if;

  -- From one endpoint with something pending to the next by index: a long queue costs no more than a short one.
  with recursive waiting as (
    (select delivery.endpoint_id from public.webhook_deliveries as delivery
      where delivery.state = 'pending' order by delivery.endpoint_id limit 1)
    union all
    select (select delivery.endpoint_id from public.webhook_deliveries as delivery
             where delivery.state = 'pending' and delivery.endpoint_id > waiting.endpoint_id
             order by delivery.endpoint_id limit 1)
      from waiting where waiting.endpoint_id is not null
  ), due as (
    select waiting.endpoint_id, (
             select min(delivery.next_attempt_at) from public.webhook_deliveries as delivery
              where delivery.endpoint_id = waiting.endpoint_id and delivery.state = 'pending') as since
      from waiting where waiting.endpoint_id is not null
  ), chosen as (
    -- Whom another sender has locked is that one's to serve.
    select endpoint as locked_endpoint from due join public.webhook_endpoints as endpoint on endpoint.id = due.endpoint_id
     where due.since <= now() and public.webhook_capacity(endpoint) > 0
     order by due.since limit at_most
       for no key update of endpoint skip locked
  )
  select array_agg(locked_endpoint) into locked from chosen;

  -- Written by transactions that began before their endpoint was disabled.
  perform public.fail_pending_deliveries(endpoint.id) from unnest(locked) as endpoint where not endpoint.enabled;

  -- A statement of its own, so that it sees what the last holder of these locks has claimed.
  with turns as (
    select delivery.id, delivery.next_attempt_at, delivery.turn
      from unnest(locked) as endpoint
     cross join lateral (
       select one.id, one.next_attempt_at, row_number() over (order by one.next_attempt_at, one.seq) as turn
         from public.webhook_deliveries as one
        where one.endpoint_id = endpoint.id and one.state = 'pending' and one.next_attempt_at <= now()
        order by one.next_attempt_at, one.seq
        limit public.webhook_capacity(endpoint)) as delivery
     where endpoint.enabled
     order by delivery.turn, delivery.next_attempt_at limit at_most
  ), taken as (
    update public.webhook_deliveries as delivery
       set claim_id = gen_random_uuid(), next_attempt_at = now() + lease
      from turns where delivery.id = turns.id
    returning delivery.*
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'delivery_id', taken.id, 'claim_id', taken.claim_id, 'endpoint_id', endpoint.id, 'url', endpoint.url,
           'attempt', taken.attempts + 1, 'payload', taken.payload, 'secrets', (
             select jsonb_agg(secret.secret order by secret.id desc) from public.webhook_secrets as secret
              where secret.endpoint_id = endpoint.id and (secret.expires_at is null or secret.expires_at > now())))
           order by taken.seq), '[]')
    into claimed
    from taken join unnest(locked) as endpoint on endpoint.id = taken.endpoint_id;
  return claimed;
end
$$;
revoke all on function public.claim_webhook_deliveries from public, anon, authenticated;
grant execute on function public.claim_webhook_deliveries to service_role;
