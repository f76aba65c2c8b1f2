-- Counts what is to be held, by work that was created in that month, against the caps of a project and of a token; 402
-- names the cap that has no room for it. A cap that has gone on to a later month counts it no more.
-- The caller holds the account's lock, under which everything that counts for these caps is counted.
create or replace function public.count_against_spend_caps(
  for_project uuid, for_token uuid, amount_microusd bigint, for_month date
) returns void
language plpgsql set search_path = '' as $$
declare
  cap public.spend_caps;
begin
  for cap in
    update public.spend_caps
       set committed_microusd = case when month = for_month then committed_microusd else 0 end
                                + count_against_spend_caps.amount_microusd,
           month = for_month
     where (project_id = for_project or token_id = for_token) and month <= for_month
    returning *
  loop
    if cap.committed_microusd > cap.cap_microusd then
      perform public.refuse('spend_cap_reached', 402, jsonb_build_object(
        'project_id', cap.project_id, 'token_id', cap.token_id, 'month', cap.month,
        'cap_credits', cap.cap_microusd / 10000.0, 'cap_microusd', cap.cap_microusd,
        'committed_microusd', cap.committed_microusd - count_against_spend_caps.amount_microusd,
        'required_microusd', count_against_spend_caps.amount_microusd));
    end if;
  end loop;
end
$$;
revoke all on function public.count_against_spend_caps from public, anon, authenticated;
