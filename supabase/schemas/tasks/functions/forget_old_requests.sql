-- Forgets idempotency keys, settled withdrawals and what users' tasks cost unpaid after 30 days, reports on runs after a day, rate limits that nobody has touched
-- for a day, quotes a day after their time.
create or replace function public.forget_old_requests()
returns void
language sql security definer set search_path = '' as $$
  delete from public.task_requests where created_at < now() - interval '30 days';
  delete from public.run_reports where created_at < now() - interval '1 day';
  delete from public.rate_limits where updated_at < now() - interval '1 day';
  delete from public.provider_withdrawals where state <> 'open' and settled_at < now() - interval '30 days';
  delete from public.unpaid_provider_costs where day < (now() at time zone 'UTC')::date - 30;
  delete from public.task_quotes where expires_at < now() - interval '1 day';
$$;
revoke all on function public.forget_old_requests from public, anon, authenticated;
grant execute on function public.forget_old_requests to service_role;
