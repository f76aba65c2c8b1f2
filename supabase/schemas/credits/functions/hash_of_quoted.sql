-- What a quote is compared by: the params as they are; of a family, whose payloads differ in ids and seeds each time they
-- are built, what the price depends on.
create or replace function public.hash_of_quoted(for_task_type text, params jsonb, is_of_family boolean)
returns bytea
language plpgsql stable set search_path = '' as $$
begin
  return public.hash_of_params(case when is_of_family then public.price_basis(for_task_type, params) else params end);
end
$$;
revoke all on function public.hash_of_quoted from public, anon, authenticated;
