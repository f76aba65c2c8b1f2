-- Writes a message of type `webhook.test` to an enabled endpoint, whatever it subscribes to.
create or replace function public.test_webhook(for_user uuid, for_webhook uuid)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  endpoint constant public.webhook_endpoints := public.owned_webhook(for_user, for_webhook);
  next_seq constant bigint := nextval('public.webhook_sequence');
  written public.webhook_deliveries;
begin
  if not endpoint.enabled then
    perform public.refuse('webhook_disabled', 409);
  end if;
  insert into public.webhook_deliveries (endpoint_id, seq, type, payload)
  values (endpoint.id, next_seq, 'webhook.test', public.webhook_payload('webhook.test', json_build_object(
            'webhook_id', endpoint.id, 'project_id', endpoint.project_id, 'seq', next_seq)))
  returning * into written;
  return jsonb_build_object('success', true, 'delivery_id', written.id);
end
$$;
revoke all on function public.test_webhook from public, anon, authenticated;
grant execute on function public.test_webhook to service_role;
