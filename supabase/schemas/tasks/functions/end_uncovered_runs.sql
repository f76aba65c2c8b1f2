-- Ends runs whose held amount is used up and whose account allows no more: see end_uncovered_run(). Answers how many.
-- `may_wait`: it waits for locks, lest a tenant run uncovered by holding one: half a second for one lock and a second in all, in an order
-- by chance, so that one tenant's locks delay no other's end for long. Safe to run anywhere at once.
create or replace function public.end_uncovered_runs(at_most integer default 50, may_wait boolean default true)
returns integer
language plpgsql security definer set search_path = '' set lock_timeout = '500ms' as $$
declare
  begun constant timestamptz := clock_timestamp();
  run record;
  task public.tasks;
  ended integer := 0;
begin
  if not may_wait then
    perform set_config('lock_timeout', '1ms', true);
  end if;
  for run in
    select id, user_id from (
      select id, user_id from public.tasks
       where status = 'In Progress' and covered_until <= now() order by covered_until limit 1000) as uncovered
     order by random() limit at_most
  loop
    exit when clock_timestamp() > begun + interval '1 second';
    begin
      -- In the order of all: orchestrations, the task, the tenant, the account.
      perform public.lock_orchestrators(run.id);
      select * into task from public.tasks
       where id = run.id and status = 'In Progress' and covered_until <= now() for no key update;
      continue when not found;
      perform public.lock_tenant(run.user_id);
      perform from public.credit_accounts where user_id = run.user_id for no key update;
      task := public.cover_run(task);
      if task.covered_until <= now() then
        perform public.end_uncovered_run(task);
        ended := ended + 1;
      end if;
    exception when lock_not_available or deadlock_detected then
      continue;
    end;
  end loop;
  return ended;
end
$$;
revoke all on function public.end_uncovered_runs from public, anon, authenticated;
grant execute on function public.end_uncovered_runs to service_role;
