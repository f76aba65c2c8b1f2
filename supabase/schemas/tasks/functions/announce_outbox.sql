-- Tells hosts in the write-ahead log that there is work in task_outbox, so that they do it at once. A hint: their timer, and
-- pg_cron, look as well.
create or replace function public.announce_outbox()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from pg_catalog.pg_proc
              where proname = 'pg_logical_emit_message' and pg_catalog.has_function_privilege(oid, 'execute')) then
    perform pg_catalog.pg_logical_emit_message(true, 'darkroom.outbox', '');
  end if;
  return null;
end
$$;
revoke all on function public.announce_outbox from public, anon, authenticated;
