-- What a price may be multiplied by; read_billed_values() reads each from params.
create or replace function public.cost_factor_names()
returns text[]
language plpgsql immutable set search_path = '' as $$
begin
  return array['resolution', 'model', 'model_type', 'frames', 'images', 'seconds', 'megapixels'];
end
$$;
revoke all on function public.cost_factor_names from public, anon, authenticated;
