-- Deletes an endpoint, its secrets and its deliveries. What is being sent at this moment may still arrive.
create or replace function public.delete_webhook(for_user uuid, for_webhook uuid)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  endpoint constant public.webhook_endpoints := public.owned_webhook(for_user, for_webhook);
begin
  delete from public.webhook_endpoints where id = endpoint.id;
  return jsonb_build_object('success', true, 'webhook_id', endpoint.id);
end
$$;
revoke all on function public.delete_webhook from public, anon, authenticated;
grant execute on function public.delete_webhook to service_role;
