create or replace function public.hash_of_params(params jsonb)
returns bytea
language plpgsql stable set search_path = '' as $$
begin
  return sha256(convert_to(params::text, 'UTF8'));
end
$$;
revoke all on function public.hash_of_params from public, anon, authenticated;
