-- On Supabase, by pg_cron: has the function `deliver-webhooks` send what is due. Where nothing is, nothing happens.
create or replace function public.request_webhook_delivery()
returns void
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.webhook_deliveries where state = 'pending' and next_attempt_at <= now()) then
    perform public.call_edge_function('deliver-webhooks');
  end if;
end
$$;
revoke all on function public.request_webhook_delivery from public, anon, authenticated;
