-- Settles withdrawals whose time is over, so that no hold stays open for longer: a job that is known counts as one that ran, and
-- one of which only the intent is known as one that was never submitted. A task that somebody holds is left to the next call, so
-- that nobody is kept waiting by another's lock.
create or replace function public.settle_overdue_withdrawals(at_most integer default 20)
returns integer
language plpgsql security definer set search_path = '' set lock_timeout = '200ms' as $$
declare
  overdue record;
  settled integer := 0;
begin
  for overdue in
    select id, request_id from public.provider_withdrawals
     where state = 'open' and expires_at <= now() order by expires_at limit at_most
  loop
    begin
      perform public.settle_withdrawal(
        overdue.id, case when overdue.request_id is null then 'unknown' else 'unanswered' end);
      settled := settled + 1;
    exception when lock_not_available then
      null;
    end;
  end loop;
  return settled;
end
$$;
revoke all on function public.settle_overdue_withdrawals from public, anon, authenticated;
