-- A claim found nothing here: closes the lane if that is true for good, and waits for nobody to find out.
-- Whoever is adding work or freeing a slot holds the tenant's lock; then the lane is left as it is.
create or replace function public.close_lane_if_idle(for_lane bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  lane public.task_lanes;
  has_task boolean;
  stays_open boolean;
begin
  select * into lane from public.task_lanes where id = for_lane;
  perform from public.task_tenants where user_id = lane.user_id for no key update skip locked;
  if not found then
    return;
  end if;
  perform from public.task_lanes where id = for_lane for no key update skip locked;
  if not found then
    return;
  end if;
  -- A new statement, so a new snapshot: it sees what was committed before the locks were free.
  select * into lane from public.task_lanes where id = for_lane;
  has_task := exists (select from public.tasks
                       where lane_id = for_lane and status = 'Queued' and unmet_dependencies = 0
                         and not is_scheduled);
  stays_open := lane.is_open and has_task and public.lane_may_open(lane);
  if lane.is_ready <> has_task or lane.is_open <> stays_open then
    update public.task_lanes set is_ready = has_task, is_open = stays_open where id = for_lane;
  end if;
end
$$;
revoke all on function public.close_lane_if_idle from public, anon, authenticated;
