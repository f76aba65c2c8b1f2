-- What became of jobs that were given out to be withdrawn: [{withdrawal_id, outcome}]. `withdrawn`, `ran` and `failed` settle
-- it; `retry` has it given out again, later and later, until its time is over. So does a task that somebody holds for longer than
-- the caller waits for a lock: what one tenant holds must not keep the jobs of others. That its job ran is noted all the same,
-- because a job that was told to stop looks later like one that failed. Answers how many were settled.
create or replace function public.report_provider_withdrawals(for_user uuid, reports jsonb)
returns integer
language plpgsql set search_path = '' as $$
declare
  report record;
  is_again boolean;
  settled integer := 0;
begin
  for report in
    select withdrawal.id, withdrawal.tries, said ->> 'outcome' as outcome
      from jsonb_array_elements(reports) as said
      join public.provider_withdrawals as withdrawal on withdrawal.id = (said ->> 'withdrawal_id')::uuid
     where withdrawal.state = 'open' and withdrawal.by_owner = (for_user is not null)
       and (for_user is null or withdrawal.user_id = for_user)
     order by withdrawal.user_id, withdrawal.paid_by, withdrawal.id
  loop
    is_again := report.outcome = 'retry';
    if not is_again then
      begin
        settled := settled + (public.settle_withdrawal(report.id, report.outcome) is not null)::integer;
      exception when lock_not_available then
        is_again := true;
      end;
    end if;
    if is_again then
      update public.provider_withdrawals
         set has_run = has_run or report.outcome = 'ran', next_try_at = now() + least(interval '1 minute', interval '1 second' * 2 ^ least(report.tries, 6))
       where id = report.id and state = 'open';
    end if;
  end loop;
  return settled;
end
$$;
revoke all on function public.report_provider_withdrawals from public, anon, authenticated;
