-- What a provider's news says of a job that is to be withdrawn: it has ended, well or in an error. False when it is about no such
-- job. An error is left to the caller that is withdrawing the job, because it may be the withdrawal itself.
create or replace function public.settle_withdrawal_by_news(
  for_provider text, for_request_ids text[], has_failed boolean, for_webhook_key uuid default null
) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  withdrawal public.provider_withdrawals;
begin
  select * into withdrawal from public.provider_withdrawals
   where provider = for_provider and not by_owner
     and (request_id = any (for_request_ids) or webhook_key = for_webhook_key and request_id is null)
   order by state = 'open' desc, created_at desc limit 1;
  if not found then
    return false;
  end if;
  if withdrawal.state = 'open' and (not has_failed or withdrawal.tries = 0) then
    perform public.settle_withdrawal(withdrawal.id, case when has_failed then 'failed' else 'ran' end);
    -- After the locks of the task, which come first.
    update public.provider_withdrawals set request_id = for_request_ids[1] where id = withdrawal.id and request_id is null
    returning * into withdrawal;
    if found and not has_failed then
      perform public.count_withdrawn_job(withdrawal);
    end if;
  end if;
  return true;
end
$$;
revoke all on function public.settle_withdrawal_by_news from public, anon, authenticated;
grant execute on function public.settle_withdrawal_by_news to service_role;
