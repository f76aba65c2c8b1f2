-- What a task that has ended costs the operator at providers beyond what it was charged; null while it may still be charged. A loss of a
-- finished task that the operator allows is not counted. Of a task that is deleted the charge is `deleted_charge`, and later what the
-- withdrawals of its jobs charged.
create or replace function public.unpaid_cost_of_task(cost public.task_provider_costs, deleted_charge bigint default null)
returns bigint
language plpgsql stable set search_path = '' as $$
declare
  task public.tasks;
begin
  if deleted_charge is null then
    select * into task from public.tasks where id = cost.task_id;
    if not found then
      deleted_charge := (
        select coalesce(sum(charged_microusd), 0)::bigint from public.provider_withdrawals where task_id = cost.task_id);
    end if;
  end if;
  return case
    when deleted_charge is not null then greatest(cost.provider_cost_microusd - deleted_charge, 0)
    when task.status in ('Queued', 'In Progress') then null
    when task.status = 'Complete' and (
           (select allows_provider_loss from public.queue_settings)
           or (select allows_provider_loss from public.task_types where name = task.task_type)) then 0
    else greatest(cost.provider_cost_microusd - coalesce(task.cost_microusd, 0), 0) end;
end
$$;
revoke all on function public.unpaid_cost_of_task from public, anon, authenticated;
