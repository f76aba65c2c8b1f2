-- Fails or cancels a task, and with it whoever cannot go on: its orchestrator, the orchestrator's other
-- children, and all who depend on any of them. Rows that have ended stay as they are. At most `direct_cascade` children and
-- dependants end with it; task_outbox has the rest: see next_to_end(). `is_dependant`: the task ends for a dependency that
-- did, so it fails, and `new_status` is for what ends with it as a relative.
-- Charges an orchestrator's finished children and, where the owner ended the work, what running tasks have consumed:
-- see give_up_run(). Every other hold is released. `by_owner`: the owner, or something that the owner did, ended it, and no
-- failure of a worker or a provider; a cancel is the owner's unless it is said to be another's.
-- The orchestrators above a task that fails keep which part failed and why (`failed_part`): their `error_message` names its id alone,
-- in the form that clients know.
-- One statement a step away from the task, and not one for all: a step's rows are looked for when those before are
-- locked, so that a child which is created at the same moment is found.
-- `already_ended` is the task as it was, where its row says so already.
create or replace function public.end_task(
  for_task uuid, new_status public.task_status, error text, already_ended public.tasks default null,
  by_owner boolean default null, is_dependant boolean default false
)
returns void
language plpgsql set search_path = '' as $$
declare
  is_owners constant boolean := coalesce(by_owner, new_status = 'Cancelled');
  -- One moment for the rows and for their costs, so that the one can be computed from the other.
  ended_at constant timestamptz := clock_timestamp();
  run record;
  relatives uuid[] := case when is_dependant then '{}' else array[for_task] end;
  dependants uuid[] := case when is_dependant then array[for_task] else '{}' end;
  room integer := (select direct_cascade from public.queue_settings);
  ended public.tasks[];
  ended_ids uuid[];
  orchestrators uuid[] := '{}';
  task public.tasks;
  cause jsonb;
  above uuid[] := '{}';
  all_ended uuid[] := '{}';
begin
  loop
    ended := array(
      select candidate from public.tasks as candidate
       where candidate.id = any (relatives || dependants) and candidate.status in ('Queued', 'In Progress')
       order by candidate.id for no key update);
    if already_ended.id is not null then
      ended := ended || already_ended;
      already_ended := null;
    end if;
    exit when cardinality(ended) = 0;
    ended_ids := array(select id from unnest(ended));
    all_ended := all_ended || ended_ids;
    if cause is null and new_status = 'Failed' then
      select * into task from unnest(ended) where id = for_task;
      task.error_message := coalesce(error, task.error_message);
      cause := public.failed_part(task);
      above := public.orchestrators_above(task);
    end if;
    update public.tasks
       set status = case when id = any (relatives) then new_status else 'Failed' end,
           error_message = case
             when id = for_task then error
             when id = any (relatives) then format('Cascaded %s from related task %s', lower(new_status::text), for_task)
             else 'dependency_failed' end,
           result_data = case when id = any (above) then result_data || jsonb_build_object('failed_part', cause) else result_data end,
           slot = null, project_slot = null, task_type_slot = null, lease_expires_at = null, is_scheduled = false,
           is_following = false, updated_at = now()
     where id = any (ended_ids) and status in ('Queued', 'In Progress');
    perform public.free_slots(ended);
    foreach task in array ended loop
      if task.result_key is not null and not task.is_following then
        perform public.release_followers(task.project_id, task.result_key, task.user_id);
      end if;
    end loop;
    foreach task in array ended loop
      -- end_uncovered_run() has charged its run already.
      run := public.give_up_run(task, is_owners and task.cost_microusd is null, ended_at);
      if run.basis <> 'nothing' then
        update public.tasks
           set cost_microusd = run.cost_microusd, generation_processed_at = ended_at,
               result_data = result_data || jsonb_build_object('cancellation', jsonb_build_object(
                 'state', case when run.is_pending then 'withdrawing' else 'charged' end,
                 'basis', run.basis, 'cost_microusd', run.cost_microusd))
         where id = task.id;
      end if;
      if task.is_orchestrator then
        orchestrators := orchestrators || task.id;
      elsif task.orchestrator_task_id is null then
        perform public.settle_hold(task.id);
      end if;
    end loop;
    update public.task_dependencies set is_waiting = false where task_id = any (ended_ids) and is_waiting;
    select next.* into relatives, dependants, room
      from public.next_to_end(ended, new_status, is_owners, for_task, room) as next;
  end loop;

  -- Last, when no child can finish any more.
  for task in select * from public.tasks where id = any (orchestrators) order by id loop
    perform public.settle_ended_orchestrator(task);
  end loop;
  perform public.count_unpaid_cost(all_ended);
end
$$;
revoke all on function public.end_task from public, anon, authenticated;
