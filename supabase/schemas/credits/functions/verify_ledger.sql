-- The part of doctor() that is about the books alone; for operators with the database's own password.
create or replace function public.verify_ledger(at_most integer default 1000)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  faults jsonb;
  found_faults bigint;
begin
  select coalesce(jsonb_agg(to_jsonb(listed) - 'position') filter (where position <= at_most), '[]'), count(*)
    into faults, found_faults
    from (select 'credits' as room, fault.*, row_number() over () as position
            from public.find_ledger_faults() as fault) as listed;
  return jsonb_build_object(
    'healthy', found_faults = 0, 'checked_at', clock_timestamp(), 'fault_count', found_faults, 'faults', faults,
    'accounts', (select count(*) from public.credit_accounts),
    'entries', (select count(*) from public.credits_ledger),
    'chain_digest', public.ledger_digest());
end
$$;
revoke all on function public.verify_ledger from public, anon, authenticated;
