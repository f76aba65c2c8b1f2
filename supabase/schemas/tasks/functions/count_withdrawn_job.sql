-- Adds a job whose id became known only when its task had ended to what the task costs the operator; see count_provider_call().
create or replace function public.count_withdrawn_job(withdrawal public.provider_withdrawals)
returns void
language plpgsql set search_path = '' as $$
declare
  job public.provider_jobs;
begin
  if withdrawal.by_owner or withdrawal.request_id is null then
    return;
  end if;
  job.task_id := withdrawal.task_id;
  job.provider := withdrawal.provider;
  job.model := withdrawal.model;
  job.request_id := withdrawal.request_id;
  job.cost_microusd := withdrawal.provider_cost_microusd;
  perform public.count_provider_call(job, withdrawal.user_id, coalesce(
    withdrawal.charge_metadata ->> 'task_type',
    (select task_type from public.all_tasks where id = withdrawal.task_id limit 1), 'unknown'));
end
$$;
revoke all on function public.count_withdrawn_job from public, anon, authenticated;
