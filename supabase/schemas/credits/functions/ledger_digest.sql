-- Stands for every entry of every account up to now: one that was changed, taken out or put in since gives another digest.
create or replace function public.ledger_digest()
returns text
language plpgsql stable set search_path = '' as $$
begin
  return (
    select encode(sha256(coalesce(string_agg(
        convert_to(user_id::text || entry_count, 'UTF8') || chain_hash, ''::bytea order by user_id), ''::bytea)), 'hex')
      from public.credit_accounts where entry_count > 0);
end
$$;
revoke all on function public.ledger_digest from public, anon, authenticated;
