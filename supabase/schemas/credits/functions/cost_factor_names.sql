-- What a price may be multiplied by; factor_value() knows what params say of each.
create or replace function public.cost_factor_names()
returns text[]
language plpgsql immutable set search_path = '' as $$
begin
  return array['resolution', 'model', 'model_type', 'frames', 'images'];
end
$$;
revoke all on function public.cost_factor_names from public, anon, authenticated;
