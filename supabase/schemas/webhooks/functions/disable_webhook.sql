-- Ends an endpoint's deliveries until its owner enables it. The caller holds the endpoint's lock.
create or replace function public.disable_webhook(for_endpoint uuid, reason text)
returns void
language plpgsql set search_path = '' as $$
begin
  update public.webhook_endpoints
     set enabled = false, disabled_at = now(), disabled_reason = reason, updated_at = now()
   where id = for_endpoint;
  perform public.fail_pending_deliveries(for_endpoint);
end
$$;
revoke all on function public.disable_webhook from public, anon, authenticated;
