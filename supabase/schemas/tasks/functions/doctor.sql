-- Proves from the tables alone that no task is lost, charged twice or unpaid and that every account adds up; lists what
-- is wrong, with its row, at most so many. `chain_digest` stands for every entry up to now: kept elsewhere, it shows
-- later whether the past was changed.
create or replace function public.doctor(at_most integer default 1000)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  faults jsonb;
  found_faults bigint;
begin
  select coalesce(jsonb_agg(to_jsonb(listed) - 'position') filter (where position <= at_most), '[]'), count(*)
    into faults, found_faults
    from (select checked.*, row_number() over () as position
            from (select 'credits' as room, fault.* from public.find_ledger_faults() as fault
                  union all
                  select 'billing', fault.* from public.find_payment_faults() as fault
                  union all
                  select 'tasks', fault.* from public.find_task_faults() as fault
                  union all
                  select 'queue', fault.* from public.find_queue_faults() as fault
                  union all
                  select 'margin', fault.* from public.find_margin_faults() as fault) as checked) as listed;
  return jsonb_build_object(
    'healthy', found_faults = 0, 'checked_at', clock_timestamp(), 'fault_count', found_faults, 'faults', faults,
    'accounts', (select count(*) from public.credit_accounts),
    'entries', (select count(*) from public.credits_ledger),
    'open_holds', (select count(*) from public.credit_holds where state = 'held')
                  + (select count(*) from public.paid_calls where state = 'held'),
    'tasks', (select count(*) from public.all_tasks),
    'books_microusd', (select jsonb_build_object(
        'customers', coalesce(sum(amount_microusd), 0), 'revenue', coalesce(sum(revenue_microusd), 0),
        'purchases', coalesce(sum(purchases_microusd), 0), 'grants', coalesce(sum(grants_microusd), 0),
        'write_off', coalesce(sum(write_off_microusd), 0), 'debt', coalesce(sum(debt_microusd), 0))
      from public.credits_ledger),
    'chain_digest', public.ledger_digest());
end
$$;
revoke all on function public.doctor from public, anon, authenticated;
grant execute on function public.doctor to service_role;
