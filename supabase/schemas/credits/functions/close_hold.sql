-- Ends a task's hold, once: charges the cost, never above the hold, and gives back the rest. Cost beyond the hold is
-- revenue that is written off. A cost of nothing releases all. Without an open hold nothing happens.
-- Answers what was charged.
create or replace function public.close_hold(for_task uuid, cost_microusd bigint, metadata jsonb default '{}')
returns bigint
language plpgsql set search_path = '' as $$
declare
  hold public.credit_holds;
  charge bigint;
  excess bigint;
  new_entry public.credits_ledger;
  recorded record;
  account public.credit_accounts;
begin
  select * into hold from public.credit_holds
   where task_id = for_task and state = 'held' for no key update;
  if not found then
    return 0;
  end if;
  charge := least(greatest(cost_microusd, 0), hold.amount_microusd);
  excess := greatest(cost_microusd - charge, 0);
  update public.credit_holds
     set state = case when charge > 0 then 'settled' else 'released' end::public.hold_state,
         charged_microusd = charge, written_off_microusd = excess, closed_at = now()
   where task_id = for_task;
  if charge > 0 or excess > 0 then
    new_entry.user_id := hold.user_id;
    new_entry.task_id := for_task;
    new_entry.type := case when charge > 0 then 'spend' else 'write_off' end;
    new_entry.amount_microusd := -charge;
    new_entry.revenue_microusd := charge + excess;
    new_entry.write_off_microusd := -excess;
    new_entry.metadata := close_hold.metadata;
    select * into recorded from public.record_entry(new_entry, hold.amount_microusd);
    account := recorded.account;
    if charge > 0 then
      perform public.draw_grants(recorded.entry);
    end if;
  else
    update public.credit_accounts set held_microusd = held_microusd - hold.amount_microusd
     where user_id = hold.user_id
    returning * into account;
  end if;
  if account.has_spend_caps then
    perform public.give_back_to_spend_caps(hold, hold.amount_microusd - charge);
  end if;
  if account.debt_microusd > 0 then
    perform public.collect_debt(hold.user_id);
  end if;
  -- Also of grants whose time was over long ago, which only this hold has kept.
  if exists (select from public.credit_grants
              where user_id = hold.user_id and is_open and expires_at <= now()) then
    perform public.expire_grants(hold.user_id);
  end if;
  return charge;
end
$$;
revoke all on function public.close_hold from public, anon, authenticated;
