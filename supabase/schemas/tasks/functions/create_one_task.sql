-- One task of a create: see create_task. Locks, in this order: shot, orchestrator, dependencies, tenant, account.
create or replace function public.create_one_task(for_user uuid, request jsonb, for_token uuid default null)
returns jsonb
language plpgsql set search_path = '' as $$
declare
  new_id constant uuid := coalesce((request ->> 'task_id')::uuid, gen_random_uuid());
  plan record;
  task public.tasks;
  known public.tasks;
begin
  if request ? 'task_id' then
    select * into known from public.tasks where id = new_id;
    if not found then
      select * into known from public.archived_task(new_id);
    end if;
    if known.id is not null then
      return public.repeated_task(known, (public.project_of_request(for_user, request)).user_id,
                                  public.hash_of_request(request));
    end if;
  end if;

  if request ? 'placeholder' then
    -- Before the tenant and the account, as completing locks them.
    perform from public.shots
     where id = (request -> 'placeholder' ->> 'shot_id')::uuid
       and project_id = (public.project_of_request(for_user, request)).id
       for no key update;
    if not found then
      perform public.refuse('shot_not_found', 404, '{"field": "shot_id"}');
    end if;
  end if;
  select * into plan from public.plan_task(for_user, request, new_id);
  task := plan.planned;
  if (plan.result).id is not null then
    task := public.reuse_result(task, plan.result);
    insert into public.tasks select task.* on conflict (id) do nothing;
    if not found then
      -- Undone with what was just made of it, and tried again: then the task is known.
      raise exception 'task % was created meanwhile', new_id using errcode = 'serialization_failure';
    end if;
  else
    insert into public.tasks (
      id, project_id, user_id, task_type, params, lane_id, run_type, model, is_orchestrator,
      orchestrator_task_id, dependant_on, unmet_dependencies, dependency_depth, priority, run_after, is_scheduled, max_attempts,
      request_hash,
      result_key, is_following, in_cloud, price_id, billed, expected_microusd, held_microusd, upper_bound_microusd, covered_seconds,
      part_prices)
    values (
      new_id, task.project_id, task.user_id, task.task_type, task.params, task.lane_id, task.run_type, task.model,
      task.is_orchestrator, task.orchestrator_task_id, task.dependant_on, task.unmet_dependencies,
      task.dependency_depth, task.priority,
      task.run_after, task.is_scheduled, task.max_attempts, task.request_hash, task.result_key, task.is_following,
      task.in_cloud, task.price_id, task.billed, task.expected_microusd, task.held_microusd, task.upper_bound_microusd,
      task.covered_seconds, task.part_prices)
    on conflict (id) do nothing;
    if not found then
      -- The same id, committed by another request since our look.
      select * into known from public.tasks where id = new_id;
      return public.repeated_task(known, (public.project_of_request(for_user, request)).user_id,
                                    public.hash_of_request(request));
    end if;
  end if;
  perform public.publish_inputs(task, for_user is not null);
  perform public.enter_queue(task, for_token);
  if request ? 'placeholder' then
    perform public.make_placeholder(task, request -> 'placeholder');
  end if;

  return public.created_task(task, plan.exact, plan.price_version) || jsonb_build_object(
    'held_microusd', case when task.in_cloud and task.orchestrator_task_id is null and task.reused_task_id is null
                          then task.held_microusd else 0 end,
    'deduplicated', false);
end
$$;
revoke all on function public.create_one_task from public, anon, authenticated;
