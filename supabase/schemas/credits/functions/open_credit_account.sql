create or replace function public.open_credit_account(for_user uuid)
returns void
language sql set search_path = '' as $$
  insert into public.credit_accounts (user_id) values (for_user) on conflict (user_id) do nothing
$$;
revoke all on function public.open_credit_account from public, anon, authenticated;
