-- Keeps `users.credits` (cents), which clients read, equal to the account; and asks for an automatic top-up where the
-- balance has fallen to its threshold.
create or replace function public.show_balance()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  is_low boolean;
begin
  update public.users set credits = new.balance_microusd / 10000.0 where id = new.user_id
  returning auto_topup_enabled and credits <= auto_topup_threshold into is_low;
  if is_low and new.balance_microusd < old.balance_microusd then
    perform public.request_auto_topup(new.user_id);
  end if;
  return null;
end
$$;
revoke all on function public.show_balance from public, anon, authenticated;
