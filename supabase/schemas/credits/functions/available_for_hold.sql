-- How much more an open hold may take: the available credit, within the spend caps that count for it; nothing while the
-- account owes. The caller holds the account's lock.
create or replace function public.available_for_hold(hold public.credit_holds)
returns bigint
language plpgsql set search_path = '' as $$
declare
  account public.credit_accounts;
begin
  perform public.expire_grants(hold.user_id) from public.credit_accounts
    where user_id = hold.user_id and next_expiry_at <= now();
  select * into account from public.credit_accounts where user_id = hold.user_id;
  if account.debt_microusd > 0 then
    return 0;
  end if;
  return greatest(0, least(
    account.balance_microusd - account.held_microusd,
    -- As count_against_spend_caps() counts: in the month in which the work was created.
    (select min(cap_microusd - case when month = public.spend_month(hold.created_at) then committed_microusd else 0 end)
       from public.spend_caps
      where (project_id = hold.project_id or token_id = hold.token_id)
        and month <= public.spend_month(hold.created_at))));
end
$$;
revoke all on function public.available_for_hold from public, anon, authenticated;
