-- Gives back what dead processes hold for calls, and forgets answers, with their keys, after seven days.
create or replace function public.tend_paid_calls(at_most integer default 200)
returns void
language plpgsql security definer set search_path = '' as $$
declare
  overdue record;
begin
  for overdue in
    select id, user_id from public.paid_calls
     where state = 'held' and expires_at <= now() order by expires_at limit at_most
  loop
    -- One that is busy is looked at again the next time.
    perform from public.credit_accounts where user_id = overdue.user_id for no key update skip locked;
    if found then
      perform public.close_paid_call(overdue.id, 0);
    end if;
  end loop;
  update public.paid_calls set answer = null, idempotency_key = null, content_hash = null
   where id in (select id from public.paid_calls
                 where answer is not null and closed_at < now() - interval '7 days'
                 order by closed_at limit at_most for no key update skip locked);
end
$$;
revoke all on function public.tend_paid_calls from public, anon, authenticated;
grant execute on function public.tend_paid_calls to service_role;
