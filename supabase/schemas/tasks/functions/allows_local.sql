-- A user's own workers run their tasks unless they chose otherwise.
create or replace function public.allows_local(settings jsonb)
returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(settings -> 'ui' -> 'generationMethods' -> 'onComputer' <> 'false', true);
end
$$;
revoke all on function public.allows_local from public, anon, authenticated;
