-- What people see of an endpoint: never its secrets.
create or replace function public.webhook_summary(endpoint public.webhook_endpoints)
returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'webhook_id', endpoint.id, 'project_id', endpoint.project_id, 'url', endpoint.url,
    'description', endpoint.description, 'events', to_jsonb(endpoint.events), 'enabled', endpoint.enabled,
    'disabled_at', endpoint.disabled_at, 'disabled_reason', endpoint.disabled_reason,
    'failing_since', endpoint.failing_since, 'created_at', endpoint.created_at, 'updated_at', endpoint.updated_at)
$$;
revoke all on function public.webhook_summary from public, anon, authenticated;
