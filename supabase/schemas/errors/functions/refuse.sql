-- Ends the transaction with one of our refusals: SQLSTATE `PT` + HTTP status, the code as message,
-- the details as JSON. `_shared/database` turns it into the answer. Called through `/rest/v1` it is PostgREST's
-- own way to say a status, so a browser gets the same one there, from every host.
create or replace function public.refuse(code text, status integer, details jsonb default '{}')
returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'PT' || status, message = code, detail = details::text;
end
$$;
revoke all on function public.refuse from public, anon, authenticated;
-- Called by functions that browsers call under their own policies. It does nothing but end the call.
grant execute on function public.refuse to authenticated, service_role;
