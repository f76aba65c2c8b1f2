-- Ends an account's grants whose time is over: what is left of them, but for what is held. What is held counts as the
-- credit that expires first, as it is spent; it may still be spent by the work that it was held for, and what that
-- gives back expires then.
-- Guarantees: what is spent does not expire, and the reverse, for both lock the account.
create or replace function public.expire_grants(for_user uuid, as_of timestamptz default now())
returns void
language plpgsql set search_path = '' as $$
declare
  held bigint;
  expirable bigint;
  expired record;
  new_entry public.credits_ledger;
  recorded public.credits_ledger;
begin
  select held_microusd into held from public.credit_accounts where user_id = for_user for no key update;
  select sum(remaining_microusd) - held into expirable
    from public.credit_grants where user_id = for_user and is_open and expires_at <= as_of;
  -- The latest first: what is held is of the earliest.
  for expired in
    select id, remaining_microusd, expires_at from public.credit_grants
     where user_id = for_user and is_open and expires_at <= as_of order by expires_at desc, id desc
  loop
    exit when expirable <= 0;
    new_entry := null;
    new_entry.user_id := for_user;
    new_entry.type := 'expiry';
    new_entry.amount_microusd := -least(expired.remaining_microusd, expirable);
    new_entry.grants_microusd := -new_entry.amount_microusd;
    new_entry.metadata := jsonb_build_object('grant_id', expired.id, 'expired_at', expired.expires_at);
    select (made.entry).* into recorded from public.record_entry(new_entry) as made;
    perform public.draw_grants(recorded, first_grant => expired.id);
    expirable := expirable + new_entry.amount_microusd;
  end loop;
  update public.credit_accounts
     set next_expiry_at = (select min(expires_at) from public.credit_grants
                            where user_id = for_user and is_open and expires_at > as_of)
   where user_id = for_user;
end
$$;
revoke all on function public.expire_grants from public, anon, authenticated;
