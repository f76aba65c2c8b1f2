-- Fails tasks that have waited so long that their hold is over; what they held is given back. One that runs is
-- looked at again a day later: its lease sees to its end. A user whose tenant's lock is held is passed over, and so is a task
-- whose end would wait longer than 200 ms for a lock.
create or replace function public.give_up_old_tasks(at_most integer default 200)
returns void
language plpgsql security definer set search_path = '' set lock_timeout = '200ms' as $$
declare
  started constant timestamptz := clock_timestamp();
  overdue record;
begin
  for overdue in
    select task_id, user_id from public.credit_holds
     where state = 'held' and expires_at <= now() order by expires_at limit at_most
  loop
    exit when clock_timestamp() > started + interval '2 seconds';
    perform from public.task_tenants where user_id = overdue.user_id for no key update skip locked;
    continue when not found;
    begin
      -- The task before its hold, as everywhere.
      perform from public.tasks where id = overdue.task_id and status = 'Queued' for no key update skip locked;
      if found then
        -- Nothing has failed: what of it still runs is paid as far as it has run.
        perform public.end_task(overdue.task_id, 'Failed', 'hold_expired', by_owner => true);
      else
        update public.credit_holds set expires_at = now() + interval '1 day'
         where task_id = (select task_id from public.credit_holds
                           where task_id = overdue.task_id and state = 'held' and expires_at <= now()
                             for no key update skip locked);
      end if;
    exception when lock_not_available or deadlock_detected then
      continue;
    end;
  end loop;
end
$$;
revoke all on function public.give_up_old_tasks from public, anon, authenticated;
grant execute on function public.give_up_old_tasks to service_role;
