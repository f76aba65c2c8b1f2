-- An endpoint of this user's, or anybody's for the service, locked: whoever changes an endpoint or its deliveries
-- takes this lock first. Foreign and unknown: 404.
create or replace function public.owned_webhook(for_user uuid, for_webhook uuid)
returns public.webhook_endpoints
language plpgsql set search_path = '' as $$
declare
  endpoint public.webhook_endpoints;
begin
  select * into endpoint from public.webhook_endpoints as known
   where known.id = for_webhook and (for_user is null or known.user_id = for_user)
     for no key update;
  if not found then
    perform public.refuse('webhook_not_found', 404);
  end if;
  return endpoint;
end
$$;
revoke all on function public.owned_webhook from public, anon, authenticated;
