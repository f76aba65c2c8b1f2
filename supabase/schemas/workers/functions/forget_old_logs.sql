-- Forgets log lines after their time. Lines are received in the order of their ids, so it reads those that go and
-- one more. Answers how many.
create or replace function public.forget_old_logs()
returns bigint
language sql security definer set search_path = '' as $$
  with kept as (
    select id from public.system_logs
     where received_at >= now() - (select log_retention from public.queue_settings) order by id limit 1
  ), forgotten as (
    delete from public.system_logs
     where id in (select id from public.system_logs
                   where id < coalesce((select id from kept), 9223372036854775807)
                     for update skip locked)
    returning 1
  )
  select count(*) from forgotten
$$;
revoke all on function public.forget_old_logs from public, anon, authenticated;
grant execute on function public.forget_old_logs to service_role;
