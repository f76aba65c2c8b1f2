-- What a party that withdraws jobs at a provider says and asks, in one call: the id of a job that it submitted while the task
-- ended, what became of jobs that it was given, and the next ones. `request`: {provider, submitted: {task_id, attempt,
-- step, request_id}, reports: [{withdrawal_id, outcome}], at_most}. `for_user`: the owner whose own worker asks.
create or replace function public.exchange_provider_withdrawals(for_user uuid, request jsonb)
returns jsonb
language plpgsql security definer set search_path = '' set lock_timeout = '1s' as $$
declare
  provider constant text := request ->> 'provider';
  submitted constant jsonb := request -> 'submitted';
  is_noted boolean := false;
  settled integer;
begin
  if jsonb_typeof(submitted) = 'object' then
    is_noted := public.note_unwanted_job(
      for_user, provider, (submitted ->> 'task_id')::uuid, (submitted ->> 'attempt')::integer,
      coalesce((submitted ->> 'step')::smallint, 0::smallint), submitted ->> 'request_id');
  end if;
  settled := public.report_provider_withdrawals(for_user, coalesce(request -> 'reports', '[]'));
  return jsonb_build_object(
    'noted', is_noted, 'settled', settled,
    'withdrawals', public.claim_provider_withdrawals(for_user, provider, coalesce((request ->> 'at_most')::integer, 0)));
end
$$;
revoke all on function public.exchange_provider_withdrawals from public, anon, authenticated;
grant execute on function public.exchange_provider_withdrawals to service_role;
