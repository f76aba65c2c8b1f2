-- Does what task_outbox notes for one user, the oldest first, for up to 100 ms: see run_task_outbox(). Nothing while their tenant's
-- lock is held.
create or replace function public.run_outbox_of_user(for_user uuid, at_most integer)
returns integer
language plpgsql set search_path = '' as $$
declare
  started constant timestamptz := clock_timestamp();
  entry public.task_outbox;
  last_id bigint := 0;
  did integer;
  total integer := 0;
begin
  perform from public.task_tenants where user_id = for_user for no key update skip locked;
  if not found and exists (select from public.task_tenants where user_id = for_user) then
    return 0;
  end if;
  while total < at_most and clock_timestamp() < started + interval '100 ms' loop
    select * into entry from public.task_outbox
     where user_id = for_user and id > last_id order by id limit 1 for update skip locked;
    exit when not found;
    last_id := entry.id;
    begin
      did := public.run_outbox_entry(entry, at_most - total);
    exception when lock_not_available or deadlock_detected then
      -- Left as it was, for another time. Others of this user's rows would wait for the same locks.
      exit;
    end;
    total := total + did;
  end loop;
  return total;
end
$$;
revoke all on function public.run_outbox_of_user from public, anon, authenticated;
