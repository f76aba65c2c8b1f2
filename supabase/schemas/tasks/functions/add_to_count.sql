-- One task fewer in a lane's count of one state, one more in that of another. Takes any of the lane's rows that
-- nobody is writing, and makes a new one rather than wait.
create or replace function public.add_to_count(for_lane bigint, was text, is_now text)
returns void
language plpgsql set search_path = '' as $$
declare
  ready_change constant integer := (is_now is not distinct from 'ready')::integer - (was is not distinct from 'ready')::integer;
  blocked_change constant integer := (is_now is not distinct from 'blocked')::integer - (was is not distinct from 'blocked')::integer;
  scheduled_change constant integer := (is_now is not distinct from 'scheduled')::integer - (was is not distinct from 'scheduled')::integer;
  running_change constant integer := (is_now is not distinct from 'running')::integer - (was is not distinct from 'running')::integer;
begin
  update public.task_counts
     set ready = ready + ready_change, blocked = blocked + blocked_change,
         scheduled = scheduled + scheduled_change, running = running + running_change
   where id = (select id from public.task_counts where lane_id = for_lane limit 1 for no key update skip locked);
  if not found then
    insert into public.task_counts (lane_id, ready, blocked, scheduled, running)
    values (for_lane, ready_change, blocked_change, scheduled_change, running_change);
  end if;
end
$$;
revoke all on function public.add_to_count from public, anon, authenticated;
