-- Ends the grants whose time is over, of accounts that nobody is using at the moment. Run now and then; holds do the
-- same for their own account before they count on it.
create or replace function public.expire_due_grants(at_most integer default 200)
returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform public.expire_grants(due.user_id)
     from (select user_id from public.credit_accounts
            where next_expiry_at <= now()
            order by next_expiry_at limit at_most for no key update skip locked) as due;
end
$$;
revoke all on function public.expire_due_grants from public, anon, authenticated;
grant execute on function public.expire_due_grants to service_role;
