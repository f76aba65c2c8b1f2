-- A model's name where the operator lists it in `known_models`, else no model: names come from payers.
create or replace function public.known_model(named text)
returns text
language plpgsql stable set search_path = '' as $$
begin
  return coalesce((select model from public.known_models where model = named), '');
end
$$;
revoke all on function public.known_model from public, anon, authenticated;
