-- What the holds of a project or a token, and a token's paid calls, that were opened in a month have spent, or still
-- hold.
create or replace function public.spent_in_month(for_project uuid, for_token uuid, for_month date)
returns bigint
language plpgsql stable set search_path = '' as $$
declare
  begins constant timestamptz := for_month::timestamp at time zone 'UTC';
  ends constant timestamptz := (for_month + interval '1 month') at time zone 'UTC';
begin
  return (
    select coalesce(sum(case when state = 'held' then amount_microusd else charged_microusd end), 0)
      from public.credit_holds
     where (project_id = for_project or token_id = for_token) and created_at >= begins and created_at < ends)
  + (select coalesce(sum(case when state = 'held' then amount_microusd else charged_microusd end), 0)
       from public.paid_calls
      where token_id = for_token and created_at >= begins and created_at < ends);
end
$$;
revoke all on function public.spent_in_month from public, anon, authenticated;
