-- Raises an open hold to an amount that covers more work; 402 when the account, or a spend cap, has no room for it.
create or replace function public.extend_hold(for_task uuid, new_amount_microusd bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  hold public.credit_holds;
  account public.credit_accounts;
begin
  select * into hold from public.credit_holds
   where task_id = for_task and state = 'held' for no key update;
  if found and hold.amount_microusd < new_amount_microusd then
    account := public.reserve_credit(hold.user_id, new_amount_microusd - hold.amount_microusd);
    if account.has_spend_caps then
      perform public.count_against_spend_caps(
        hold.project_id, hold.token_id, new_amount_microusd - hold.amount_microusd,
        public.spend_month(hold.created_at));
    end if;
    update public.credit_holds set amount_microusd = new_amount_microusd where task_id = for_task;
  end if;
end
$$;
revoke all on function public.extend_hold from public, anon, authenticated;
