-- A user's tasks go to the cloud unless they chose otherwise.
create or replace function public.allows_cloud(settings jsonb)
returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(settings -> 'ui' -> 'generationMethods' -> 'inCloud' <> 'false', true);
end
$$;
revoke all on function public.allows_cloud from public, anon, authenticated;
