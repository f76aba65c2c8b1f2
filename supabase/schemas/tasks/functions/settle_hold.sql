-- Closes the hold of a task that has ended, or is deleted: charges what its row says, or what was noted of it when it was
-- deleted. While the withdrawal of a job may still change the cost, the hold stays open; settle_withdrawal() comes back here.
create or replace function public.settle_hold(for_task uuid, is_deleted boolean default false, metadata jsonb default '{}')
returns void
language plpgsql set search_path = '' as $$
declare
  task public.tasks;
begin
  if exists (select from public.provider_withdrawals
              where paid_by = for_task and state = 'open' and cost_microusd > 0) then
    return;
  end if;
  if not is_deleted then
    select * into task from public.tasks where id = for_task;
  end if;
  if task.id is not null then
    perform public.close_hold(for_task, coalesce(task.cost_microusd, 0), public.charge_metadata(task));
  else
    perform public.close_hold(
      for_task, (select consumed_microusd from public.credit_holds where task_id = for_task), settle_hold.metadata);
  end if;
end
$$;
revoke all on function public.settle_hold from public, anon, authenticated;
