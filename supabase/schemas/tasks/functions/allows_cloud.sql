-- A user's tasks go to the cloud unless they chose otherwise.
create or replace function public.allows_cloud(settings jsonb)
returns boolean
language sql immutable set search_path = '' as $$
  select coalesce(settings -> 'ui' -> 'generationMethods' -> 'inCloud' <> 'false', true)
$$;
revoke all on function public.allows_cloud from public, anon, authenticated;
