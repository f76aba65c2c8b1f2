-- Fails a task that require_provider_margin() refuses to run at a provider. Its owner reads that it cannot be run and pays nothing; the
-- operator gets an alert with the amounts, one for each type and model, until it is resolved. The caller holds the locks of the task
-- and its orchestrations.
create or replace function public.end_unprofitable_run(task public.tasks, job jsonb, refusal jsonb)
returns void
language plpgsql set search_path = '' as $$
begin
  insert into public.billing_alerts (subject, reason, details)
  values (left(concat_ws(' ', task.task_type, job ->> 'provider', job ->> 'model'), 255), 'sold_below_cost',
          refusal || jsonb_build_object('provider', job -> 'provider', 'model', job -> 'model', 'units', job -> 'units'))
  on conflict do nothing;
  perform public.end_task(
    task.id, 'Failed', 'not_available: this task cannot be run at the moment. Nothing is charged.', by_owner => false);
end
$$;
revoke all on function public.end_unprofitable_run from public, anon, authenticated;
