-- Pays what an account owes out of what is available. The caller holds the account's lock.
create or replace function public.collect_debt(for_user uuid)
returns void
language plpgsql set search_path = '' as $$
declare
  payable bigint;
  new_entry public.credits_ledger;
  recorded public.credits_ledger;
begin
  select least(debt_microusd, balance_microusd - held_microusd) into payable
    from public.credit_accounts where user_id = for_user for no key update;
  if payable > 0 then
    new_entry.user_id := for_user;
    new_entry.type := 'debt';
    new_entry.amount_microusd := -payable;
    new_entry.debt_microusd := payable;
    select (made.entry).* into recorded from public.record_entry(new_entry) as made;
    perform public.draw_grants(recorded);
  end if;
end
$$;
revoke all on function public.collect_debt from public, anon, authenticated;
