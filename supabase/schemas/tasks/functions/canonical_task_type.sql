-- The name under which a type is stored; 422 for a type that there is none of.
create or replace function public.canonical_task_type(given_name text)
returns text
language plpgsql stable set search_path = '' as $$
declare
  type_name text;
begin
  select coalesce(alias_of, name) into type_name from public.task_types where name = given_name and is_active;
  if not found then
    perform public.refuse('unknown_task_type', 422, jsonb_build_object('task_type', given_name));
  end if;
  return type_name;
end
$$;
revoke all on function public.canonical_task_type from public, anon, authenticated;
