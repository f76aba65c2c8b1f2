-- What a new task's row brings with it: who it waits for, its cover, a lane that has work. The tenant's lock is held since
-- the task was planned.
create or replace function public.enter_queue(task public.tasks, for_token uuid default null)
returns void
language plpgsql set search_path = '' as $$
begin
  if task.reused_task_id is not null then
    -- It never waits; what it costs is held and charged at once.
    if task.cost_microusd > 0 then
      perform public.open_hold(task.user_id, task.id, task.cost_microusd, task.project_id, for_token);
      perform public.close_hold(task.id, task.cost_microusd, public.charge_metadata(task));
    end if;
    return;
  end if;
  if task.is_following then
    -- It waits no longer than it would by itself. A run that somebody has just taken needs no priority.
    update public.tasks set priority = task.priority
     where id = (select id from public.tasks
                  where project_id = task.project_id and result_key = task.result_key and not is_following
                    and status = 'Queued' and priority < task.priority
                  for no key update skip locked);
    if not public.run_is_under_way(task.project_id, task.result_key) then
      -- The run ended while we waited for the tenant.
      insert into public.results_to_share (project_id, result_key, user_id)
      values (task.project_id, task.result_key, task.user_id) on conflict do nothing;
    end if;
  end if;
  if task.dependant_on is not null then
    -- Locked since the task was planned, so their status is the same.
    insert into public.task_dependencies (dependency_id, task_id, is_waiting)
    select id, task.id, status <> 'Complete' from public.tasks where id = any (task.dependant_on);
  end if;
  if task.in_cloud then
    if task.orchestrator_task_id is null then
      perform public.open_hold(
        task.user_id, task.id, task.held_microusd, task.project_id, for_token, task.run_after);
    else
      perform public.cover_child(task.orchestrator_task_id, task.held_microusd);
    end if;
  end if;
  if task.unmet_dependencies = 0 and not task.is_scheduled then
    perform public.ready_lane(task.lane_id, now());
  end if;
end
$$;
revoke all on function public.enter_queue from public, anon, authenticated;
