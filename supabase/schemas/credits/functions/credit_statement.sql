-- A user's entries from a time to another, the newest first, a page at a time: `before` is the last page's
-- `next_before`.
create or replace function public.credit_statement(
  for_user uuid, from_time timestamptz, to_time timestamptz, before bigint, at_most integer
) returns jsonb
language plpgsql stable security definer set search_path = '' set plan_cache_mode = 'force_custom_plan' as $$
declare
  page public.credits_ledger[];
begin
  if not exists (select from public.credit_accounts where user_id = for_user) then
    perform public.refuse('user_not_found', 404);
  end if;
  page := array(
    select entry from public.credits_ledger as entry
     where user_id = for_user and (before is null or sequence < before)
       and (from_time is null or created_at >= from_time) and (to_time is null or created_at < to_time)
     order by sequence desc limit at_most + 1);
  return jsonb_build_object(
    'user_id', for_user,
    'entries', (select coalesce(jsonb_agg(public.ledger_entry_summary(entry) order by entry.sequence desc), '[]')
                  from unnest(page[:at_most]) as entry),
    'next_before', case when cardinality(page) > at_most then page[at_most].sequence end);
end
$$;
revoke all on function public.credit_statement from public, anon, authenticated;
grant execute on function public.credit_statement to service_role;
