-- Notes the session that Stripe made of a request. Answers the one to use: the first noted wins.
create or replace function public.record_checkout_session(
  for_request uuid, session_id text, url text, expires_at timestamptz
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  known public.checkout_sessions;
begin
  update public.checkout_sessions as session
     set id = record_checkout_session.session_id, url = record_checkout_session.url,
         expires_at = record_checkout_session.expires_at
   where session.request_id = for_request and session.id is null;
  select * into known from public.checkout_sessions as session where session.request_id = for_request;
  return jsonb_build_object('session_id', known.id, 'url', known.url, 'status', known.status);
end
$$;
revoke all on function public.record_checkout_session from public, anon, authenticated;
grant execute on function public.record_checkout_session to service_role;
