-- How many billing alerts are open, by reason: {reason: count}.
create or replace function public.count_billing_alerts()
returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_object_agg(reason, alerts order by reason), '{}')
    from (select reason, count(*) as alerts from public.billing_alerts where state = 'open' group by reason) as counted
$$;
revoke all on function public.count_billing_alerts from public, anon, authenticated;
