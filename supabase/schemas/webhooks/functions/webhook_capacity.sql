-- How many more deliveries may be on their way to an endpoint: four in all, one while it fails.
create or replace function public.webhook_capacity(endpoint public.webhook_endpoints)
returns bigint
language sql stable set search_path = '' as $$
  select greatest(0, case when endpoint.failing_since is null then 4 else 1 end - count(*))
    from public.webhook_deliveries as delivery
   where delivery.endpoint_id = endpoint.id and delivery.state = 'pending' and delivery.claim_id is not null
     and delivery.next_attempt_at > now()
$$;
revoke all on function public.webhook_capacity from public, anon, authenticated;
