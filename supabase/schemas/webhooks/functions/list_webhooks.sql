-- The endpoints of a project, oldest first.
create or replace function public.list_webhooks(for_user uuid, for_project uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform from public.projects where id = for_project and (for_user is null or user_id = for_user);
  if not found then
    perform public.refuse('project_not_found', 404);
  end if;
  return (select jsonb_build_object('webhooks',
                   coalesce(jsonb_agg(public.webhook_summary(endpoint) order by endpoint.created_at, endpoint.id), '[]'))
            from public.webhook_endpoints as endpoint where endpoint.project_id = for_project);
end
$$;
revoke all on function public.list_webhooks from public, anon, authenticated;
grant execute on function public.list_webhooks to service_role;
