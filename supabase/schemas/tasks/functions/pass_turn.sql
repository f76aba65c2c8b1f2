-- Puts a user who was served behind all others. Lanes from which nothing more can be claimed are closed, so that
-- claims do not visit them: the served one when it is empty, all when the user has no slot left. What another claim
-- is updating is left to that claim.
create or replace function public.pass_turn(served public.task_lanes, affinity_max_wait interval)
returns void
language plpgsql set search_path = '' as $$
declare
  next_turn constant bigint := nextval('public.task_turns');
  next_since timestamptz;
  next_ready_at timestamptz;
  next_id uuid;
  has_slot boolean;
  has_project_slot boolean;
  may_close boolean := false;
begin
  loop
    select next_task.since, next_task.ready_at, next_task.id,
           served.is_orchestrator
             or exists (select from public.task_slots where user_id = served.user_id and task_id is null),
           served.project_id is null or served.is_orchestrator
             or exists (select from public.project_slots where project_id = served.project_id and task_id is null)
      into next_since, next_ready_at, next_id, has_slot, has_project_slot
      from (values (true)) as always
      left join lateral (select greatest(created_at, run_after) as since, ready_at, id from public.tasks
                          where lane_id = served.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
                          order by priority desc, created_at, id limit 1) as next_task on true;
    exit when may_close or (next_since is not null and has_slot and has_project_slot);
    -- Whoever adds work or frees a slot holds the tenant's lock: then the lanes stay as they are. With it, we look
    -- again, for what was committed before we had it.
    perform from public.task_tenants where user_id = served.user_id for no key update skip locked;
    exit when not found;
    may_close := true;
  end loop;

  if may_close then
    update public.task_lanes as lane
       set is_ready = lane.id <> served.id or next_since is not null, is_open = false
      from (select id from public.task_lanes
             where user_id = served.user_id and is_ready
               and (id = served.id and next_since is null
                    or is_open and not is_orchestrator
                       and (not has_slot or not has_project_slot and project_id = served.project_id))
             order by id for no key update skip locked) as idle
     where lane.id = idle.id;
  end if;
  if served.is_overdue and not coalesce(next_since < now() - affinity_max_wait, false) then
    update public.task_lanes set is_overdue = false, oldest_ready_at = coalesce(next_since, oldest_ready_at)
     where id = (select id from public.task_lanes where id = served.id for no key update skip locked);
  end if;
  if served.is_late
     and not coalesce(next_ready_at <= now() - (select fal_after from public.queue_settings), false)
     and not exists (select from public.provider_jobs where task_id = next_id and not by_owner) then
    update public.task_lanes set is_late = false, waits_since = coalesce(next_ready_at, waits_since)
     where id = (select id from public.task_lanes where id = served.id for no key update skip locked);
  end if;
  update public.user_turns as mine
     set turn = next_turn,
         is_open = mine.is_open and (not may_close or exists (
           select from public.task_lanes where user_id = mine.user_id and run_type = mine.run_type and is_open))
    from (select run_type from public.user_turns where user_id = served.user_id
           order by run_type for no key update skip locked) as free
   where mine.user_id = served.user_id and mine.run_type = free.run_type;
end
$$;
revoke all on function public.pass_turn from public, anon, authenticated;
