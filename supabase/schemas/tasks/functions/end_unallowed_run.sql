-- Fails a task that require_unpaid_allowance() refuses to begin at a provider. Its owner reads until when; the operator gets an alert with
-- the amounts, one for each user, until it is resolved. The caller holds the locks of the task and its orchestrations.
create or replace function public.end_unallowed_run(task public.tasks, refusal jsonb)
returns void
language plpgsql set search_path = '' as $$
begin
  insert into public.billing_alerts (subject, reason, details)
  values (task.user_id::text, 'unpaid_provider_limit', refusal)
  on conflict do nothing;
  perform public.end_task(
    task.id, 'Failed',
    'unpaid_provider_limit: too many tasks of this account ended today without a charge. Try again after 00:00 UTC. Nothing is charged.',
    by_owner => false);
end
$$;
revoke all on function public.end_unallowed_run from public, anon, authenticated;
