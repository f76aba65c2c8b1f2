-- What is on knows how much, from which balance and up to which sum a month. Not a check of the table, which would
-- be read anew whenever a balance changes.
create or replace function public.keep_auto_topup_whole()
returns trigger
language plpgsql set search_path = '' as $$
begin
  if new.auto_topup_enabled and not coalesce(
       new.auto_topup_threshold < new.auto_topup_amount
       and new.auto_topup_monthly_cap >= new.auto_topup_amount, false) then
    raise exception using errcode = '23514', message = 'automatic top-ups need an amount, a lower threshold and a cap';
  end if;
  return new;
end
$$;
revoke all on function public.keep_auto_topup_whole from public, anon, authenticated;
