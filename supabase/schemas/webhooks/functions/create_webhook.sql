-- Registers an endpoint with its first secret. A project has at most 10, also for two who register at once.
create or replace function public.create_webhook(
  for_user uuid, for_project uuid, url text, events text[], secret text, description text default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  project public.projects;
  endpoint public.webhook_endpoints;
begin
  select * into project from public.projects as known
   where known.id = for_project and (for_user is null or known.user_id = for_user)
     for no key update;
  if not found then
    perform public.refuse('project_not_found', 404);
  end if;
  if (select count(*) from public.webhook_endpoints as known where known.project_id = project.id) >= 10 then
    perform public.refuse('webhook_limit_reached', 422, '{"limit": 10}');
  end if;
  insert into public.webhook_endpoints (project_id, user_id, url, description, events)
  values (project.id, project.user_id, create_webhook.url, create_webhook.description,
          array(select distinct event from unnest(create_webhook.events) as event order by event))
  returning * into endpoint;
  insert into public.webhook_secrets (endpoint_id, secret) values (endpoint.id, create_webhook.secret);
  return public.webhook_summary(endpoint) || jsonb_build_object('secret', create_webhook.secret);
end
$$;
revoke all on function public.create_webhook from public, anon, authenticated;
grant execute on function public.create_webhook to service_role;
