-- On Supabase, by pg_cron: has the function `trigger-auto-topup` charge what is due. Where nothing is, nothing happens.
create or replace function public.request_auto_topup_charges()
returns void
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.auto_topup_requests where state = 'requested' and next_attempt_at <= now()) then
    perform public.call_edge_function('trigger-auto-topup');
  end if;
end
$$;
revoke all on function public.request_auto_topup_charges from public, anon, authenticated;
