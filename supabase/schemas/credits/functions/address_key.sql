-- What all spellings of a mail address have in common: without case and `+tag`, and where dots mean nothing without them.
create or replace function public.address_key(email text)
returns text
language plpgsql immutable set search_path = '' as $$
declare
  local_part text := split_part(split_part(lower(trim(email)), '@', 1), '+', 1);
  domain text := public.mail_domain(email);
begin
  if domain in ('gmail.com', 'googlemail.com') then
    return replace(local_part, '.', '') || '@gmail.com';
  end if;
  return local_part || '@' || split_part(lower(trim(email)), '@', 2);
end
$$;
revoke all on function public.address_key from public, anon, authenticated;
