-- Rescues tasks whose worker fell silent: back to the queue, or failed after the last attempt. Answers how many: at most so many,
-- 20 of one user, for up to 500 ms.
-- Safe to run anywhere at once: a task that is locked, a user whose tenant's lock is held, and a rescue that would wait longer
-- than 200 ms for a lock are left for another time, so nobody delays others.
create or replace function public.sweep_expired_leases(at_most integer default 200)
returns integer
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set lock_timeout = '200ms' as $$
declare
  started constant timestamptz := clock_timestamp();
  silent record;
  ours uuid[] := '{}';
  counts integer[] := '{}';
  busy uuid[] := '{}';
  place integer;
  task public.tasks;
  rescued integer := 0;
begin
  for silent in
    select id, user_id from public.tasks
     where status = 'In Progress' and lease_expires_at < now() order by lease_expires_at
  loop
    exit when rescued >= at_most or clock_timestamp() > started + interval '500 ms';
    continue when silent.user_id = any (busy);
    place := array_position(ours, silent.user_id);
    if place is null then
      perform from public.task_tenants where user_id = silent.user_id for no key update skip locked;
      if not found then
        busy := busy || silent.user_id;
        continue;
      end if;
      ours := ours || silent.user_id;
      counts := counts || 0;
      place := cardinality(ours);
    end if;
    -- Asked again under the lock: an earlier rescue of this loop may have ended it with its orchestration.
    select * into task from public.tasks
     where id = silent.id and status = 'In Progress' and lease_expires_at <= now() for no key update skip locked;
    continue when not found;
    begin
      perform public.rescue_task(task, 'lease_expired');
      rescued := rescued + 1;
      counts[place] := counts[place] + 1;
    exception when lock_not_available or deadlock_detected then
      busy := busy || silent.user_id;
    end;
    if counts[place] >= 20 then
      busy := busy || silent.user_id;
    end if;
  end loop;
  return rescued;
end
$$;
revoke all on function public.sweep_expired_leases from public, anon, authenticated;
grant execute on function public.sweep_expired_leases to service_role;
