-- A model's name without case and separators: "FLUX.1 [dev]", "flux_1-dev" and "flux 1 dev" are one name.
create or replace function public.spelling_of_model(name text)
returns text
language sql immutable set search_path = '' as $$
  select trim('-' from regexp_replace(lower(name), '[^a-z0-9]+', '-', 'g'))
$$;
revoke all on function public.spelling_of_model from public, anon, authenticated;
