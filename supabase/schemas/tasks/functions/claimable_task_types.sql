-- The task types of these run types (or of those, the named ones; another spelling counts) that are not at their limit.
create or replace function public.claimable_task_types(run_types text[], only_task_types text[])
returns text[]
language plpgsql stable set search_path = '' as $$
begin
  return array(
    select kind.name from public.task_types as kind
     where kind.alias_of is null and kind.run_type = any (run_types)
       and (only_task_types is null or kind.name = any (only_task_types)
            or exists (select from public.task_types as alias
                        where alias.alias_of = kind.name and alias.name = any (only_task_types)))
       and (kind.max_running_tasks is null
            or exists (select from public.task_type_slots as free
                        where free.task_type = kind.name and free.task_id is null)));
end
$$;
revoke all on function public.claimable_task_types from public, anon, authenticated;
