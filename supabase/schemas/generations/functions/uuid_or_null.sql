-- An id out of params; null when the text is none.
create or replace function public.uuid_or_null(written text)
returns uuid
language plpgsql immutable set search_path = '' as $$
begin
  if written ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then
    return written::uuid;
  end if;
  return null;
end
$$;
revoke all on function public.uuid_or_null from public, anon, authenticated;
grant execute on function public.uuid_or_null to authenticated, service_role;
