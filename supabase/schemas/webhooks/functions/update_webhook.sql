-- Changes what is named in `changes`: url, description, events, enabled. Enabling, and another address, begin anew:
-- earlier failures are forgotten. Disabling dead-letters what waits.
create or replace function public.update_webhook(for_user uuid, for_webhook uuid, changes jsonb)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  endpoint constant public.webhook_endpoints := public.owned_webhook(for_user, for_webhook);
  changed public.webhook_endpoints;
begin
  if endpoint.enabled and changes -> 'enabled' = 'false' then
    perform public.disable_webhook(endpoint.id, 'owner');
  elsif not endpoint.enabled and changes -> 'enabled' = 'true' then
    update public.webhook_endpoints
       set enabled = true, disabled_at = null, disabled_reason = null, failing_since = null where id = endpoint.id;
  end if;
  update public.webhook_endpoints
     set url = coalesce(changes ->> 'url', endpoint.url),
         description = case when changes ? 'description' then changes ->> 'description' else endpoint.description end,
         events = case when changes ? 'events' then array(
             select distinct event from jsonb_array_elements_text(changes -> 'events') as event order by event)
           else endpoint.events end,
         failing_since = case when changes ->> 'url' <> endpoint.url then null else failing_since end,
         updated_at = now()
   where id = endpoint.id
  returning * into changed;
  return public.webhook_summary(changed);
end
$$;
revoke all on function public.update_webhook from public, anon, authenticated;
grant execute on function public.update_webhook to service_role;
