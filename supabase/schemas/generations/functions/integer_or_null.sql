-- A small number out of params; null when the text is none.
create or replace function public.integer_or_null(written text)
returns integer
language plpgsql immutable set search_path = '' as $$
begin
  if written ~ '^-?\d{1,9}(\.0+)?$' then
    return split_part(written, '.', 1)::integer;
  end if;
  return null;
end
$$;
revoke all on function public.integer_or_null from public, anon, authenticated;
