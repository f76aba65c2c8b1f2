-- Those of cost_factor_names() that count something: {"included": n, "each": m}.
create or replace function public.counted_factor_names()
returns text[]
language plpgsql immutable set search_path = '' as $$
begin
  return array['frames', 'images', 'seconds', 'megapixels'];
end
$$;
revoke all on function public.counted_factor_names from public, anon, authenticated;
