-- Keeps `users.credits` (cents), which clients read, equal to the account.
create or replace function public.show_balance()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.users set credits = new.balance_microusd / 10000.0 where id = new.user_id;
  return null;
end
$$;
revoke all on function public.show_balance from public, anon, authenticated;
