-- What tells whether a create is the same as one before; priority and attempts may differ.
create or replace function public.hash_of_request(request jsonb)
returns bytea
language plpgsql immutable set search_path = '' as $$
begin
  return sha256(convert_to((request - array['priority', 'max_attempts'])::text, 'UTF8'));
end
$$;
revoke all on function public.hash_of_request from public, anon, authenticated;
