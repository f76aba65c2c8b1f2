-- Ends a task's hold, once: charges the cost, never above the hold, and gives back the rest.
-- A cost of nothing releases all. Without an open hold nothing happens. Answers what was charged.
create or replace function public.close_hold(for_task uuid, cost_microusd bigint, metadata jsonb default '{}')
returns bigint
language plpgsql set search_path = '' as $$
declare
  hold public.credit_holds;
  charge bigint;
begin
  select * into hold from public.credit_holds
   where task_id = for_task and state = 'held' for no key update;
  if not found then
    return 0;
  end if;
  charge := least(greatest(cost_microusd, 0), hold.amount_microusd);
  update public.credit_holds
     set state = case when charge > 0 then 'settled' else 'released' end::public.hold_state,
         charged_microusd = charge, written_off_microusd = greatest(cost_microusd - charge, 0),
         closed_at = now()
   where task_id = for_task;
  if charge > 0 then
    perform public.record_credit(
      hold.user_id, 'spend', -charge, for_task, null, close_hold.metadata, hold.amount_microusd);
  else
    update public.credit_accounts set held_microusd = held_microusd - hold.amount_microusd
     where user_id = hold.user_id;
  end if;
  return charge;
end
$$;
revoke all on function public.close_hold from public, anon, authenticated;
