-- What automatic top-ups have cost in this calendar month (UTC), in US cents: those paid, and the open one.
create or replace function public.topped_up_in_month(for_user uuid)
returns integer
language plpgsql stable set search_path = '' as $$
begin
  return (
    select coalesce(sum(request.amount_cents), 0)
      from public.auto_topup_requests as request
     where request.user_id = for_user and request.state in ('requested', 'succeeded')
       and request.created_at >= date_trunc('month', now(), 'UTC'));
end
$$;
revoke all on function public.topped_up_in_month from public, anon, authenticated;
