-- Announces to the hosts' long polls that tasks of these types may be claimed which could not be before: see announce_lane().
create or replace function public.announce_task_types(types text[])
returns void
language plpgsql set search_path = '' as $$
begin
  if types <> '{}' and exists (
       select from pg_catalog.pg_proc
        where proname = 'pg_logical_emit_message' and pg_catalog.has_function_privilege(oid, 'execute')) then
    perform pg_catalog.pg_logical_emit_message(true, 'darkroom.queue', jsonb_build_object(
              'run_type', kind.run_type, 'is_open', true,
              'task_types', (select jsonb_agg(name) from public.task_types where kind.name in (name, alias_of)))::text)
       from public.task_types as kind where kind.name = any (types);
  end if;
end
$$;
revoke all on function public.announce_task_types from public, anon, authenticated;
