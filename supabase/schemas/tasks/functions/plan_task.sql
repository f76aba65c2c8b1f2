-- The row of a new task, priced and with its place in the queue; not written yet. Locks, in this order: orchestrator,
-- dependencies, tenant. Whoever writes the row calls enter_queue() then.
-- With a `result`, an earlier run has made its output: it has no place in the queue and no tenant is locked, for the caller
-- makes it complete by reuse_result(), which locks shots. A result that comes meanwhile is followed instead.
create or replace function public.plan_task(
  for_user uuid, request jsonb, new_id uuid,
  out planned public.tasks, out exact boolean, out price_version integer, out result public.tasks
)
language plpgsql set search_path = '' as $$
declare
  project public.projects := public.project_of_request(for_user, request);
  new_params constant jsonb := request -> 'params';
  named_orchestrator constant uuid := public.orchestrator_of_params(new_params);
  type_row public.task_types;
  orchestrator public.tasks;
  dependencies uuid[];
  present integer;
  failed integer;
  unmet integer := 0;
  quote record;
begin
  -- A deleted task keeps its id while something of it is to be charged, and for good when it was charged: that is done once. The
  -- id of another user's task is theirs for good: a hold has one payer.
  if (exists (select from public.credit_holds
               where task_id = new_id and (state <> 'released' or user_id <> project.user_id))
      or exists (select from public.provider_withdrawals where task_id = new_id and state = 'open'))
     and not exists (select from public.tasks where id = new_id) then
    perform public.refuse('task_id_conflict', 409);
  end if;
  type_row := public.canonical_task_type(request ->> 'task_type');

  -- Locked so that neither the orchestrator nor a dependency ends between our look and our commit.
  if named_orchestrator is not null then
    select * into orchestrator from public.tasks
     where id = named_orchestrator and id <> new_id and project_id = project.id
     for no key update;
    if not found then
      -- An archived one is not locked: it does not change any more.
      select * into orchestrator from public.archived_task(named_orchestrator)
       where id <> new_id and project_id = project.id;
    end if;
  end if;
  if orchestrator.status in ('Complete', 'Failed', 'Cancelled')
     or orchestrator.orchestrator_task_id is not null and public.ended_orchestrator(orchestrator.orchestrator_task_id) is not null then
    perform public.refuse('orchestrator_finished', 409, jsonb_build_object(
      'orchestrator_task_id', orchestrator.id, 'orchestrator_status', orchestrator.status));
  end if;

  -- In the client's order: get-predecessor-output gives out the first.
  select array_agg(id order by position) into dependencies
    from (select value::uuid as id, min(ordinality) as position
            from jsonb_array_elements_text(coalesce(request -> 'dependant_on', '[]')) with ordinality
           group by 1) as given;
  if cardinality(dependencies) > 200 then
    -- As create-task's contract says; rows over REST have no contract.
    perform public.refuse('invalid_request', 400, '{"field": "dependant_on"}');
  end if;
  if dependencies is not null then
    select count(*), count(*) filter (where status in ('Failed', 'Cancelled')),
           count(*) filter (where status <> 'Complete')
      into present, failed, unmet
      from (select status from public.tasks
             where id = any (dependencies) and project_id = project.id order by id for share) as dependency;
    if present <> cardinality(dependencies) then
      select present + count(*), failed + count(*) filter (where status <> 'Complete') into present, failed
        from public.archived_tasks where id = any (dependencies) and project_id = project.id;
    end if;
    if present <> cardinality(dependencies) or failed > 0 then
      perform public.refuse('invalid_dependency', 422);
    end if;
  end if;

  -- Neither what is part of a whole, nor what is to run at a time of its own or to fill a placeholder, nor what only the
  -- owner's machine runs.
  if project.reuses_results and type_row.is_reusable and orchestrator.id is null and dependencies is null
     and not request ?| array['run_after', 'placeholder']
     and (select allows_cloud from public.task_tenants where user_id = project.user_id) then
    planned.result_key := public.result_key(project.user_id, type_row.name, new_params);
    if planned.result_key is not null then
      result := public.find_result(project.id, planned.result_key);
    end if;
  end if;
  planned.dependency_depth := 0;
  if result.id is null then
    perform public.lock_tenant(project.user_id);
    if unmet > 0 then
      planned.dependency_depth := public.open_dependency_depth(
        dependencies, (select max_dependency_depth from public.queue_settings));
    end if;
    perform public.require_task_room(project.user_id, dependencies, orchestrator.id,
                                     type_row.category = 'orchestration', planned.dependency_depth);
    -- Read again: under the tenant's lock a limit neither comes nor goes.
    select * into project from public.projects where id = project.id;
  end if;
  if request ? 'quote_id' then
    select * into quote
      from public.find_quote(project.user_id, (request ->> 'quote_id')::uuid, type_row.name, new_params);
  else
    -- Children cost what their orchestrator was promised.
    select * into quote from public.quote_task(type_row.name, new_params, orchestrator.part_prices);
  end if;
  planned.part_prices := quote.part_prices;
  exact := quote.exact;
  price_version := (quote.price).version;

  planned.id := new_id;
  planned.project_id := project.id;
  planned.user_id := project.user_id;
  planned.task_type := type_row.name;
  planned.params := new_params;
  planned.run_type := type_row.run_type;
  planned.is_orchestrator := type_row.category = 'orchestration';
  planned.billed := case when planned.is_orchestrator then '{}' else quote.billed end;
  planned.model := coalesce(planned.billed ->> 'model', public.model_of_params(new_params));
  planned.orchestrator_task_id := orchestrator.id;
  planned.dependant_on := dependencies;
  planned.unmet_dependencies := unmet;
  planned.is_following := false;
  planned.priority := coalesce((request ->> 'priority')::smallint, 0);
  planned.run_after := (request ->> 'run_after')::timestamptz;
  planned.is_scheduled := coalesce(planned.run_after > now(), false);
  planned.max_attempts := coalesce((request ->> 'max_attempts')::integer, 3);
  planned.request_hash := public.hash_of_request(request);
  planned.in_cloud := case when orchestrator.id is not null then orchestrator.in_cloud
    else (select allows_cloud from public.task_tenants where user_id = project.user_id) end;
  if result.id is not null then
    planned.lane_id := 0;
  else
    planned.lane_id := public.find_lane(project, type_row.name, coalesce(planned.model, ''), planned.in_cloud,
                                        planned.is_orchestrator);
    if planned.result_key is not null then
      if not planned.in_cloud then
        planned.result_key := null;
      elsif public.run_is_under_way(project.id, planned.result_key)
            or (public.find_result(project.id, planned.result_key)).id is not null then
        planned.is_following := true;
        planned.unmet_dependencies := 1;
      end if;
    end if;
  end if;
  planned.price_id := (quote.price).id;
  planned.expected_microusd := quote.expected_microusd;
  planned.held_microusd := quote.held_microusd;
  planned.upper_bound_microusd := quote.upper_bound_microusd;
  if planned.is_following then
    -- Nobody raises the hold of a task that does not run.
    planned.held_microusd := greatest(
      quote.held_microusd, least((quote.price).reuse_price_microusd, quote.upper_bound_microusd));
  end if;
  if planned.in_cloud and not planned.is_orchestrator and planned.held_microusd < planned.upper_bound_microusd then
    planned.covered_seconds := public.seconds_paid_by(planned.held_microusd, quote.price, planned.billed);
  end if;

  planned.status := 'Queued';
  planned.attempt := 0;
  planned.attempts := 0;
  planned.generation_created := false;
  planned.result_data := '{}';
  planned.warnings := '{}';
  planned.children_held_microusd := 0;
  planned.created_at := now();
  planned.ready_at := now();
  planned.updated_at := now();
end
$$;
revoke all on function public.plan_task from public, anon, authenticated;
