-- Rescues tasks whose worker fell silent: back to the queue, or failed after the last attempt.
-- Safe to run anywhere at once: a task that another sweep has locked is skipped. Answers how many.
create or replace function public.sweep_expired_leases(at_most integer default 200)
returns integer
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  task public.tasks;
  rescued integer := 0;
begin
  for task in
    select * from public.tasks
     where status = 'In Progress' and lease_expires_at < now()
     order by lease_expires_at limit at_most for no key update skip locked
  loop
    -- An earlier rescue of this loop may have ended it with its orchestration.
    continue when not exists (select from public.tasks where id = task.id and status = 'In Progress');
    perform public.rescue_task(task, 'lease_expired');
    rescued := rescued + 1;
  end loop;
  return rescued;
end
$$;
revoke all on function public.sweep_expired_leases from public, anon, authenticated;
grant execute on function public.sweep_expired_leases to service_role;
