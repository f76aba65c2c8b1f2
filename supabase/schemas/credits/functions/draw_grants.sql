-- Takes what an entry spends out of the account's grants: given away before paid for, and of these what expires
-- first, then what is oldest. `first_grant` comes before all; `paid_first` turns the first rule round.
-- The account's row is locked by its entry.
create or replace function public.draw_grants(
  entry public.credits_ledger, first_grant bigint default null, paid_first boolean default false
) returns void
language plpgsql set search_path = '' as $$
declare
  missing bigint := -entry.amount_microusd;
  source record;
  taken bigint;
  drawn_grant bigint;
begin
  if first_grant is null and not paid_first then
    -- Nearly always the first has enough.
    update public.credit_grants
       set remaining_microusd = remaining_microusd - missing, is_open = remaining_microusd > missing
     where id = (select id from public.credit_grants
                  where user_id = entry.user_id and is_open order by expires_at, category, id limit 1)
       and remaining_microusd >= missing
    returning id into drawn_grant;
    if found then
      insert into public.credit_grant_draws (entry_id, grant_id, amount_microusd)
      values (entry.id, drawn_grant, missing);
      return;
    end if;
  end if;
  for source in
    select id, remaining_microusd from public.credit_grants
     where user_id = entry.user_id and is_open
     order by id is not distinct from first_grant desc, paid_first and category <> 'paid', expires_at, category, id
  loop
    exit when missing = 0;
    taken := least(source.remaining_microusd, missing);
    update public.credit_grants
       set remaining_microusd = remaining_microusd - taken, is_open = remaining_microusd > taken
     where id = source.id;
    insert into public.credit_grant_draws (entry_id, grant_id, amount_microusd) values (entry.id, source.id, taken);
    missing := missing - taken;
  end loop;
  if missing > 0 then
    raise exception '% of entry % is in no grant', missing, entry.id;
  end if;
end
$$;
revoke all on function public.draw_grants from public, anon, authenticated;
