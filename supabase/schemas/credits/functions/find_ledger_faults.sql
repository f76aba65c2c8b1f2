-- What is wrong with the books, from the tables alone: one row for each fault, none when they are right. Reads every
-- entry; in one snapshot, so it can be asked while work goes on.
-- Of entries, exactly those are named that somebody changed or slipped in, and the numbers of those that are gone: an entry is
-- right as long as it follows from what the one before it says, or said. (Where more than a hundred were changed at
-- once, some right ones may be named with them.)
create or replace function public.find_ledger_faults()
returns table (rule text, user_id uuid, row_id text, details jsonb)
language sql stable set search_path = '' as $$
  with chained as (
    select entry, account.entry_count, account.chain_hash,
           -- The first follows from nothing, whatever was put before it.
           case when entry.sequence = 1 then ''::bytea else lag(entry.hash) over numbers end as previous_hash,
           case when entry.sequence = 1 then 0 else lag(entry.sequence, 1, 0::bigint) over numbers end as previous_sequence,
           lead(entry.sequence) over numbers as next_sequence,
           case when entry.sequence = 1 then 0 else lag(entry.balance_after_microusd) over numbers end as previous_balance
      from public.credits_ledger as entry
      left join public.credit_accounts as account on account.user_id = entry.user_id
    window numbers as (partition by entry.user_id order by entry.sequence)
  ), checked as (
    select (chained.entry).id, (chained.entry).user_id, (chained.entry).sequence, (chained.entry).hash,
           chained.entry, chained.entry_count, chained.chain_hash, chained.previous_sequence,
           public.entry_hash(chained.previous_hash, chained.entry, (chained.entry).sequence,
                             (chained.entry).balance_after_microusd) as expected_hash,
           (chained.entry).sequence = chained.previous_sequence + 1 as follows,
           (chained.entry).sequence in (chained.previous_sequence, chained.next_sequence) as is_double,
           (chained.entry).sequence between 1 and coalesce(chained.entry_count, 0) as is_counted,
           (chained.entry).amount is not distinct from (chained.entry).amount_microusd / 10000.0 as is_shown_right,
           (chained.entry).balance_after_microusd
             = chained.previous_balance::numeric + (chained.entry).amount_microusd as is_carried
      from chained
  ), suspect as materialized (
    select *, coalesce(checked.hash = checked.expected_hash and checked.follows, false) as is_linked from checked
     where (checked.hash = checked.expected_hash and checked.follows and not coalesce(checked.is_double, false)
            and checked.is_counted and checked.is_shown_right and checked.is_carried) is not true
  ), judged as materialized (
    select suspect.*,
           -- It follows from an entry that was moved elsewhere, from one whose hash was changed, or from the right one of
           -- two with one number.
           not suspect.is_linked and (
             exists (select from (select * from suspect limit 100) as moved
                      where moved.id <> suspect.id and suspect.hash = public.entry_hash(
                              moved.hash, suspect.entry, suspect.sequence, (suspect.entry).balance_after_microusd))
             or exists (select from suspect as before
                         where before.user_id = suspect.user_id and before.sequence = suspect.sequence - 1
                           and suspect.hash = public.entry_hash(
                                 before.expected_hash, suspect.entry, suspect.sequence, (suspect.entry).balance_after_microusd))
             or exists (select from public.credits_ledger as before
                         where before.user_id = suspect.user_id and before.sequence = suspect.sequence - 1
                           and suspect.hash = public.entry_hash(
                                 before.hash, suspect.entry, suspect.sequence, (suspect.entry).balance_after_microusd)))
             as is_right,
           -- The chain goes on from it, though not from its number.
           exists (select from (select * from suspect limit 100) as after
                    where after.id <> suspect.id and after.sequence <> suspect.sequence + 1 and not after.is_linked
                      and after.hash = public.entry_hash(
                            suspect.hash, after.entry, after.sequence, (after.entry).balance_after_microusd))
             or exists (select from public.credit_accounts as account
                         where account.chain_hash = suspect.hash and account.entry_count <> suspect.sequence)
             as is_moved
      from suspect
  ), booked as (
    select entry.user_id, sum(entry.amount_microusd) as balance, -sum(entry.debt_microusd) as debt
      from public.credits_ledger as entry group by entry.user_id
  ), held as (
    select open.user_id, sum(open.amount_microusd) as amount
      from (select hold.user_id, hold.amount_microusd from public.credit_holds as hold where hold.state = 'held'
            union all
            select call.user_id, call.amount_microusd from public.paid_calls as call where call.state = 'held') as open
     group by open.user_id
  ), granted as (
    select lot.user_id, sum(lot.remaining_microusd) as remaining from public.credit_grants as lot group by lot.user_id
  ), drawn as (
    select draw.grant_id, sum(draw.amount_microusd) as amount from public.credit_grant_draws as draw group by draw.grant_id
  ), paid_by as (
    select draw.entry_id, sum(draw.amount_microusd) as amount from public.credit_grant_draws as draw group by draw.entry_id
  )
  select 'entry_changed', judged.user_id, judged.id::text, jsonb_build_object('sequence', judged.sequence)
    from judged
   where not judged.is_shown_right
      or not judged.is_linked and not judged.is_right and (judged.follows or judged.is_moved or not judged.is_counted)
  union all
  select 'entry_inserted', judged.user_id, judged.id::text, jsonb_build_object('sequence', judged.sequence)
    from judged
   where (judged.is_linked or judged.is_right) and (
           not judged.is_counted and judged.hash is distinct from judged.chain_hash
           or judged.is_double and judged.hash <> judged.chain_hash
              and not exists (select from public.credits_ledger as after
                               where after.user_id = judged.user_id and after.sequence = judged.sequence + 1
                                 and after.hash = public.entry_hash(
                                       judged.hash, after, after.sequence, after.balance_after_microusd)))
  union all
  -- Named by the first number that is missing; there is no row.
  select 'entry_missing', judged.user_id, format('%s#%s', judged.user_id, judged.previous_sequence + 1), jsonb_build_object(
         'first_sequence', judged.previous_sequence + 1, 'last_sequence', judged.sequence - 1)
    from judged
   where judged.is_counted and judged.sequence > judged.previous_sequence + 1 and not judged.is_right and not judged.is_moved
  union all
  select 'entry_missing', account.user_id, format('%s#%s', account.user_id, kept.last_sequence + 1), jsonb_build_object(
         'first_sequence', kept.last_sequence + 1, 'last_sequence', account.entry_count)
    from public.credit_accounts as account
   cross join lateral (select coalesce(max(entry.sequence), 0) as last_sequence from public.credits_ledger as entry
                        where entry.user_id = account.user_id and entry.sequence <= account.entry_count) as kept
   where kept.last_sequence < account.entry_count
     and not exists (select from suspect where suspect.hash = account.chain_hash)
  union all
  select 'chain_end_differs', account.user_id, account.user_id::text,
         jsonb_build_object('entry_count', account.entry_count)
    from public.credit_accounts as account
    left join public.credits_ledger as newest
      on newest.user_id = account.user_id and newest.sequence = account.entry_count
   where (newest.id is not null or account.entry_count = 0)
     and account.chain_hash <> coalesce(newest.hash, ''::bytea)
     and not exists (select from suspect
                      where suspect.user_id = account.user_id and suspect.sequence = account.entry_count
                        and suspect.expected_hash = account.chain_hash)
  union all
  select 'balance_not_carried', judged.user_id, judged.id::text, jsonb_build_object(
         'balance_after_microusd', (judged.entry).balance_after_microusd, 'sequence', judged.sequence)
    from judged
   where not judged.is_carried and judged.is_linked
     and not exists (select from suspect as before
                      where before.user_id = judged.user_id and before.sequence = judged.sequence - 1)
  union all
  select 'entry_unbalanced', entry.user_id, entry.id::text, to_jsonb(entry)
    from public.credits_ledger as entry
   where entry.amount_microusd::numeric + entry.revenue_microusd + entry.purchases_microusd + entry.grants_microusd
         + entry.write_off_microusd + entry.debt_microusd <> 0
  union all
  select 'balance_is_not_the_sum', account.user_id, account.user_id::text, jsonb_build_object(
         'balance_microusd', account.balance_microusd, 'sum_microusd', coalesce(booked.balance, 0),
         'debt_microusd', account.debt_microusd, 'debt_sum_microusd', coalesce(booked.debt, 0))
    from public.credit_accounts as account left join booked using (user_id)
   where account.balance_microusd <> coalesce(booked.balance, 0) or account.debt_microusd <> coalesce(booked.debt, 0)
  union all
  select 'held_is_not_the_sum', account.user_id, account.user_id::text, jsonb_build_object(
         'held_microusd', account.held_microusd, 'sum_microusd', coalesce(held.amount, 0))
    from public.credit_accounts as account left join held using (user_id)
   where account.held_microusd <> coalesce(held.amount, 0)
  union all
  select 'debt_beside_credit', account.user_id, account.user_id::text, jsonb_build_object(
         'debt_microusd', account.debt_microusd, 'available_microusd', account.balance_microusd - account.held_microusd)
    from public.credit_accounts as account
   where account.debt_microusd > 0 and account.balance_microusd > account.held_microusd
  union all
  select 'grants_are_not_the_balance', account.user_id, account.user_id::text, jsonb_build_object(
         'balance_microusd', account.balance_microusd, 'remaining_microusd', coalesce(granted.remaining, 0))
    from public.credit_accounts as account left join granted using (user_id)
   where account.balance_microusd <> coalesce(granted.remaining, 0)
  union all
  select 'grant_is_not_its_draws', lot.user_id, lot.id::text, jsonb_build_object(
         'amount_microusd', lot.amount_microusd, 'remaining_microusd', lot.remaining_microusd,
         'drawn_microusd', coalesce(drawn.amount, 0))
    from public.credit_grants as lot left join drawn on drawn.grant_id = lot.id
   where lot.amount_microusd - lot.remaining_microusd <> coalesce(drawn.amount, 0)
  union all
  select 'entry_is_not_its_grants', entry.user_id, entry.id::text, jsonb_build_object(
         'amount_microusd', entry.amount_microusd, 'drawn_microusd', coalesce(paid_by.amount, 0),
         'granted_microusd', lot.amount_microusd)
    from public.credits_ledger as entry
    left join paid_by on paid_by.entry_id = entry.id
    left join public.credit_grants as lot on lot.entry_id = entry.id
   where greatest(-entry.amount_microusd::numeric, 0) <> coalesce(paid_by.amount, 0)
      or greatest(entry.amount_microusd, 0) <> coalesce(lot.amount_microusd, 0)
  union all
  select 'shown_balance_differs', account.user_id, account.user_id::text, jsonb_build_object(
         'balance_microusd', account.balance_microusd, 'credits', person.credits)
    from public.credit_accounts as account join public.users as person on person.id = account.user_id
   where person.credits <> account.balance_microusd / 10000.0
  union all
  select 'charge_is_not_its_hold', hold.user_id, hold.task_id::text, jsonb_build_object(
         'charged_microusd', hold.charged_microusd, 'spent_microusd', coalesce(-entry.amount_microusd::numeric, 0),
         'written_off_microusd', hold.written_off_microusd)
    from public.credit_holds as hold
    left join public.credits_ledger as entry on entry.task_id = hold.task_id and entry.type in ('spend', 'write_off')
   where hold.charged_microusd <> coalesce(-entry.amount_microusd::numeric, 0)
      or hold.written_off_microusd <> coalesce(-entry.write_off_microusd::numeric, 0)
  union all
  select 'spend_without_hold', entry.user_id, entry.id::text, jsonb_build_object('task_id', entry.task_id)
    from public.credits_ledger as entry
   where entry.type in ('spend', 'write_off') and entry.call_id is null
     and not exists (select from public.credit_holds as hold
                      where hold.task_id = entry.task_id and hold.user_id = entry.user_id)
  union all
  select 'charge_is_not_its_call', call.user_id, call.id::text, jsonb_build_object(
         'charged_microusd', call.charged_microusd, 'spent_microusd', coalesce(-entry.amount_microusd, 0),
         'price_microusd', price.price_microusd, 'charged_units', call.charged_units)
    from public.paid_calls as call
    join public.task_type_prices as price on price.id = call.price_id
    left join public.credits_ledger as entry on entry.call_id = call.id and entry.user_id = call.user_id
   where call.charged_microusd <> coalesce(-entry.amount_microusd, 0)
      or call.charged_microusd <> price.price_microusd * call.charged_units
      or call.amount_microusd <> price.price_microusd * call.units
  union all
  select 'spend_without_call', entry.user_id, entry.id::text, jsonb_build_object('call_id', entry.call_id)
    from public.credits_ledger as entry
   where entry.call_id is not null
     and not exists (select from public.paid_calls as call
                      where call.id = entry.call_id and call.user_id = entry.user_id)
  union all
  select 'call_not_released', call.user_id, call.id::text, jsonb_build_object('expires_at', call.expires_at)
    from public.paid_calls as call
   where call.state = 'held' and call.expires_at < now() - interval '10 minutes'
  union all
  select 'spend_cap_miscounted', cap.user_id, cap.id::text, jsonb_build_object(
         'committed_microusd', cap.committed_microusd,
         'counted_microusd', public.spent_in_month(cap.project_id, cap.token_id, cap.month))
    from public.spend_caps as cap
   where cap.committed_microusd <> public.spent_in_month(cap.project_id, cap.token_id, cap.month)
  union all
  select 'promo_code_miscounted', null, promo.code, jsonb_build_object('uses', promo.uses, 'redeemed', count(taken.user_id))
    from public.promo_codes as promo left join public.promo_redemptions as taken on taken.code = promo.code
   group by promo.code, promo.uses having promo.uses <> count(taken.user_id)
$$;
revoke all on function public.find_ledger_faults from public, anon, authenticated;
