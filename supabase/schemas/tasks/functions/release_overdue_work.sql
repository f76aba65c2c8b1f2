-- Brings back what is due and nobody has tended to yet: scheduled tasks, runs whose lease is over, and who followed a run
-- that is over. For a claim that found nothing where neither a host's timer nor pg_cron runs. Answers whether there was any, so
-- that it is worth another look.
create or replace function public.release_overdue_work()
returns boolean
language plpgsql set search_path = '' as $$
declare
  released integer := 0;
begin
  if exists (select from public.tasks where is_scheduled and run_after <= now()) then
    released := public.release_scheduled_tasks(64);
  end if;
  if exists (select from public.tasks where status = 'In Progress' and lease_expires_at < now()) then
    released := released + public.sweep_expired_leases(16);
  end if;
  if exists (select from public.tasks where status = 'In Progress' and covered_until <= now()) then
    released := released + public.end_uncovered_runs(4, may_wait => false);
  end if;
  if exists (select from public.results_to_share) then
    released := released + public.settle_followers(16);
  end if;
  if exists (select from public.task_outbox) then
    released := released + public.run_task_outbox(16);
  end if;
  return released > 0;
end
$$;
revoke all on function public.release_overdue_work from public, anon, authenticated;
