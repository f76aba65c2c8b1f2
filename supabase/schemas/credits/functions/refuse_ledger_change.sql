create or replace function public.refuse_ledger_change()
returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'credits_ledger is append-only' using errcode = 'restrict_violation';
end
$$;
revoke all on function public.refuse_ledger_change from public, anon, authenticated;
