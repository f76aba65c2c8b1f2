-- Does work that task_outbox notes, for some users. Answers how much: 0 when there is nothing that it could do.
-- Guarantees: a call is one transaction of some 250 ms, of which one user gets 100 ms, or of a second in which it only met users
-- who are busy. A user whose tenant's lock is held
-- is passed over, and so is one whose rows are locked for longer than 200 ms: nobody delays others. What it does may be
-- done again. Safe to run anywhere at once.
-- Users are taken in the order of their ids from `start_at` on, which is random: each has its chance, however many rows
-- another has.
create or replace function public.run_task_outbox(at_most integer default 200, start_at uuid default gen_random_uuid())
returns integer
language plpgsql security definer set search_path = '' set lock_timeout = '200ms' as $$
declare
  started constant timestamptz := clock_timestamp();
  next_user uuid := start_at;
  has_wrapped boolean := false;
  total integer := 0;
begin
  for look in 1 .. 64 loop
    exit when total >= at_most or clock_timestamp() > started + interval '150 ms' * case when total > 0 then 1 else 7 end;
    select user_id into next_user from public.task_outbox where user_id > next_user order by user_id limit 1;
    if not found then
      exit when has_wrapped;
      has_wrapped := true;
      next_user := '00000000-0000-0000-0000-000000000000';
      continue;
    end if;
    exit when has_wrapped and next_user > start_at;
    total := total + public.run_outbox_of_user(next_user, at_most - total);
  end loop;
  return total;
end
$$;
revoke all on function public.run_task_outbox from public, anon, authenticated;
grant execute on function public.run_task_outbox to service_role;
