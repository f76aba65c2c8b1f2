-- Asks for a top-up for everybody who is due and was not noticed as their balance fell: a new month, or an hour after
-- the last. A page of users in the order of their ids; `next_after` is null on the last page.
create or replace function public.request_due_auto_topups(after_user uuid default null, page_size integer default 500)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  candidate record;
  outcomes jsonb := '[]';
  seen integer := 0;
  last_user uuid;
begin
  for candidate in
    select one.id, one.credits, one.auto_topup_threshold, one.auto_topup_setup_completed
      from public.users as one
     where one.auto_topup_enabled and one.id > coalesce(after_user, '00000000-0000-0000-0000-000000000000')
     order by one.id limit page_size
  loop
    seen := seen + 1;
    last_user := candidate.id;
    if candidate.auto_topup_setup_completed and candidate.credits <= candidate.auto_topup_threshold then
      outcomes := outcomes || jsonb_build_object(
        'user_id', candidate.id, 'outcome', public.request_auto_topup(candidate.id));
    end if;
  end loop;
  return jsonb_build_object('outcomes', outcomes, 'next_after', case when seen = page_size then last_user end);
end
$$;
revoke all on function public.request_due_auto_topups from public, anon, authenticated;
grant execute on function public.request_due_auto_topups to service_role;
