-- The type of this name, or the one that it is another spelling of; 422 for a type that there is none of. Calls, which are
-- answered at once and never queued, have a price like tasks but are no types of tasks.
create or replace function public.canonical_task_type(given_name text, or_call boolean default false)
returns public.task_types
language plpgsql stable set search_path = '' as $$
declare
  kind public.task_types;
begin
  select * into kind from public.task_types where name = given_name and is_active;
  if kind.alias_of is not null then
    select * into kind from public.task_types where name = kind.alias_of and is_active;
  end if;
  if kind.name is null or kind.category = 'call' and not or_call then
    perform public.refuse('unknown_task_type', 422, jsonb_build_object('task_type', given_name));
  end if;
  return kind;
end
$$;
revoke all on function public.canonical_task_type from public, anon, authenticated;
