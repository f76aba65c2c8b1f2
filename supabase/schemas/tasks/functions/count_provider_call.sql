-- Adds a job that was submitted at the operator's account to what its task costs there.
-- Guarantee: a job is added once, by the provider's id, however often and by however many parties it is reported.
create or replace function public.count_provider_call(job public.provider_jobs, for_user uuid, for_task_type text)
returns void
language plpgsql set search_path = '' as $$
begin
  insert into public.provider_calls (task_id, provider, model, request_id, cost_microusd)
  values (job.task_id, job.provider, job.model, job.request_id, job.cost_microusd)
  on conflict (provider, request_id) do nothing;
  if not found then
    return;
  end if;
  insert into public.task_provider_costs as known (task_id, user_id, task_type, day, jobs, provider_cost_microusd)
  values (job.task_id, for_user, for_task_type, (now() at time zone 'UTC')::date, 1, coalesce(job.cost_microusd, 0))
  on conflict (task_id) do update
     set jobs = known.jobs + 1, provider_cost_microusd = known.provider_cost_microusd + excluded.provider_cost_microusd;
  -- Of a task that has ended already.
  perform public.count_unpaid_cost(array[job.task_id]);
end
$$;
revoke all on function public.count_provider_call from public, anon, authenticated;
