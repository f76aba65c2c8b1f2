-- What waits for somebody to look at it, the oldest first.
create or replace function public.list_billing_alerts(of_state public.alert_state default 'open', at_most integer default 100)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  return jsonb_build_object('alerts', (
    select coalesce(jsonb_agg(to_jsonb(listed) order by listed.created_at, listed.id), '[]')
      from (select * from public.billing_alerts where state = of_state order by created_at, id limit at_most) as listed));
end
$$;
revoke all on function public.list_billing_alerts from public, anon, authenticated;
grant execute on function public.list_billing_alerts to service_role;
