-- On Supabase, by pg_cron: has the function `withdraw-provider-jobs` withdraw what is due. Where nothing is, nothing happens.
create or replace function public.request_provider_withdrawals()
returns void
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.provider_withdrawals
              where state = 'open' and request_id is not null and not by_owner
                and next_try_at <= now() and expires_at > now()) then
    perform public.call_edge_function('withdraw-provider-jobs');
  end if;
end
$$;
revoke all on function public.request_provider_withdrawals from public, anon, authenticated;
