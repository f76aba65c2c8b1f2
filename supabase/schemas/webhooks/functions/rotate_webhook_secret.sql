-- Gives an endpoint another secret. The one before signs beside it for the overlap; at most two earlier ones do.
create or replace function public.rotate_webhook_secret(
  for_user uuid, for_webhook uuid, new_secret text, overlap_seconds integer default 86400
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  endpoint constant public.webhook_endpoints := public.owned_webhook(for_user, for_webhook);
  earlier_until constant timestamptz := now() + make_interval(secs => overlap_seconds);
begin
  -- An overlap of none ends every earlier secret: one of them has leaked.
  update public.webhook_secrets
     set expires_at = case when overlap_seconds = 0 then now() else coalesce(expires_at, earlier_until) end
   where endpoint_id = endpoint.id;
  delete from public.webhook_secrets as earlier
   where earlier.endpoint_id = endpoint.id
     and (earlier.expires_at <= now()
          or earlier.id not in (select recent.id from public.webhook_secrets as recent
                                 where recent.endpoint_id = endpoint.id order by recent.id desc limit 2));
  insert into public.webhook_secrets (endpoint_id, secret) values (endpoint.id, new_secret);
  return jsonb_build_object('webhook_id', endpoint.id, 'secret', new_secret, 'earlier_secret_until', earlier_until);
end
$$;
revoke all on function public.rotate_webhook_secret from public, anon, authenticated;
grant execute on function public.rotate_webhook_secret to service_role;
