-- What a quote is compared by beside its billed values: the params as they are; of a family, whose payloads differ in ids and
-- seeds each time they are built, the model, on which an estimate depends.
create or replace function public.hash_of_quoted(params jsonb, is_of_family boolean)
returns bytea
language plpgsql stable set search_path = '' as $$
begin
  return public.hash_of_params(
    case when is_of_family then jsonb_build_object('model', public.model_of_params(params)) else params end);
end
$$;
revoke all on function public.hash_of_quoted from public, anon, authenticated;
