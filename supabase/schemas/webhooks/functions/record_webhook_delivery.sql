-- Notes what came of an attempt: delivered, tried again later, or, after the eighth failure, dead-lettered.
-- 410 disables the endpoint at once; so does failing for five days without one success.
-- Answers the delivery's state; null for a claim that was given up and taken over: that attempt is not counted.
create or replace function public.record_webhook_delivery(
  for_delivery uuid, for_claim uuid, duration_ms integer,
  status_code integer default null, error text default null, retry_after_seconds integer default null
) returns text
language plpgsql security definer set search_path = '' as $$
declare
  succeeded constant boolean := coalesce(record_webhook_delivery.status_code between 200 and 299, false);
  endpoint public.webhook_endpoints;
  delivery public.webhook_deliveries;
  next_delay interval;
begin
  -- The endpoint first, as everywhere.
  select * into endpoint from public.webhook_endpoints as known
   where known.id = (select one.endpoint_id from public.webhook_deliveries as one where one.id = for_delivery)
     for no key update;
  select * into delivery from public.webhook_deliveries as one
   where one.id = for_delivery and one.claim_id = for_claim for no key update;
  if not found then
    return null;
  end if;
  insert into public.webhook_attempts (delivery_id, attempt, status_code, error, duration_ms)
  values (delivery.id, delivery.attempts + 1, record_webhook_delivery.status_code, record_webhook_delivery.error,
          greatest(record_webhook_delivery.duration_ms, 0));

  if succeeded then
    update public.webhook_deliveries
       set state = 'delivered', delivered_at = now(), next_attempt_at = null, claim_id = null, attempts = attempts + 1
     where id = delivery.id;
    if endpoint.failing_since is not null then
      update public.webhook_endpoints set failing_since = null where id = endpoint.id;
    end if;
    return 'delivered';
  end if;

  -- One that was dead-lettered with its endpoint while it was sent stays so.
  if delivery.state = 'pending' then
    next_delay := greatest(
      public.webhook_retry_delay(delivery.failures + 1),
      -- A receiver may ask for more time, not for all of it.
      case when delivery.failures < 7 then make_interval(secs => least(coalesce(retry_after_seconds, 0), 28800)) end);
  end if;
  update public.webhook_deliveries
     set state = case when next_delay is null then 'failed' else 'pending' end,
         next_attempt_at = now() + next_delay, claim_id = null, attempts = attempts + 1, failures = failures + 1
   where id = delivery.id
  returning * into delivery;
  if endpoint.failing_since is null then
    update public.webhook_endpoints set failing_since = now() where id = endpoint.id;
  end if;
  if endpoint.enabled and record_webhook_delivery.status_code = 410 then
    perform public.disable_webhook(endpoint.id, 'gone');
  elsif endpoint.enabled and endpoint.failing_since < now() - interval '5 days' then
    perform public.disable_webhook(endpoint.id, 'failing');
  end if;
  return (select one.state from public.webhook_deliveries as one where one.id = delivery.id);
end
$$;
revoke all on function public.record_webhook_delivery from public, anon, authenticated;
grant execute on function public.record_webhook_delivery to service_role;
