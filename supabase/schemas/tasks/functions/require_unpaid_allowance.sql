-- Refuses with 409 `unpaid_provider_limit` that a task is begun at a provider whose user's tasks have cost more there today than they
-- were charged and than the operator allows (credit_settings.unpaid_provider_cost_per_day_microusd). A task that has begun there goes
-- on, because what was billed for it would be lost. One that is retried after it ended unpaid begins anew.
create or replace function public.require_unpaid_allowance(task public.tasks)
returns void
language plpgsql stable set search_path = '' as $$
declare
  allowance constant bigint := (select unpaid_provider_cost_per_day_microusd from public.credit_settings);
  unpaid constant bigint := (
    select unpaid_microusd from public.unpaid_provider_costs
     where user_id = task.user_id and day = (now() at time zone 'UTC')::date);
begin
  if allowance is null or unpaid is null or unpaid <= allowance
     or exists (select from public.provider_jobs where task_id = task.id and not by_owner)
     or exists (select from public.task_provider_costs as known
                 where known.task_id = task.id and known.provider_cost_microusd > known.unpaid_microusd) then
    return;
  end if;
  perform public.refuse('unpaid_provider_limit', 409, jsonb_build_object(
    'task_id', task.id, 'user_id', task.user_id, 'unpaid_microusd', unpaid, 'allowance_microusd', allowance));
end
$$;
revoke all on function public.require_unpaid_allowance from public, anon, authenticated;
