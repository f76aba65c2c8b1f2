-- Tells the hosts' long polls that a lane turned ready or open: a line in the write-ahead log, which needs no
-- table and no lock, and is not there when the transaction is rolled back. A hint, no promise: waiting claims
-- look by themselves now and then too. Task types are named with their aliases, for a worker may ask by those.
create or replace function public.announce_lane()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  -- Asked, not caught: an exception block would be a subtransaction for each lane.
  if exists (select from pg_catalog.pg_proc
              where proname = 'pg_logical_emit_message' and pg_catalog.has_function_privilege(oid, 'execute')) then
    perform pg_catalog.pg_logical_emit_message(true, 'darkroom.queue', jsonb_build_object(
      'user_id', new.user_id, 'run_type', new.run_type, 'model', new.model, 'is_open', new.is_open,
      'task_types', (select jsonb_agg(name) from public.task_types
                      where new.task_type in (name, alias_of)))::text);
  end if;
  return null;
end
$$;
revoke all on function public.announce_lane from public, anon, authenticated;
