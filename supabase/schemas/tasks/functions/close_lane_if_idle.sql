-- A claim found nothing here: closes the lane if that is true for good, and waits for nobody to find out.
-- Whoever is adding work or freeing a slot holds the tenant's lock; then the lane is left as it is.
create or replace function public.close_lane_if_idle(for_lane bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  lane public.task_lanes;
  has_task boolean;
  has_slot boolean;
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
  has_task := exists (select from public.tasks
                       where lane_id = for_lane and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled);
  has_slot := lane.is_orchestrator
    or exists (select from public.task_slots where user_id = lane.user_id and task_id is null);
  update public.task_lanes set is_ready = has_task, is_open = is_open and has_task and has_slot
   where id = for_lane and (is_ready <> has_task or is_open <> (is_open and has_task and has_slot));
end
$$;
revoke all on function public.close_lane_if_idle from public, anon, authenticated;
