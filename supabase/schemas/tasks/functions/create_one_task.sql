-- One task of a create: see create_task. Locks, in this order: orchestrator, dependencies, tenant, account.
create or replace function public.create_one_task(for_user uuid, request jsonb)
returns jsonb
language plpgsql set search_path = '' as $$
declare
  hash constant bytea := sha256(convert_to((request - array['priority', 'max_attempts'])::text, 'UTF8'));
  project public.projects := public.project_of_request(for_user, request);
  new_params constant jsonb := request -> 'params';
  named_orchestrator constant uuid := public.orchestrator_of_params(new_params);
  new_id constant uuid := coalesce((request ->> 'task_id')::uuid, gen_random_uuid());
  type_row public.task_types;
  orchestrator public.tasks;
  dependencies uuid[];
  present integer;
  failed integer;
  unmet integer := 0;
  quote record;
  goes_to_cloud boolean;
  known public.tasks;
  start_after constant timestamptz := (request ->> 'run_after')::timestamptz;
  lane bigint;
begin
  select * into type_row from public.task_types
   where name = public.canonical_task_type(request ->> 'task_type');

  if request ? 'task_id' then
    select * into known from public.tasks where id = new_id;
    if found then
      return public.repeated_task(known, project.user_id, hash);
    end if;
    select * into known from public.archived_task(new_id);
    if found then
      return public.repeated_task(known, project.user_id, hash);
    end if;
  end if;

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
  if orchestrator.status in ('Complete', 'Failed', 'Cancelled') then
    perform public.refuse('orchestrator_finished', 409, jsonb_build_object(
      'orchestrator_task_id', orchestrator.id, 'orchestrator_status', orchestrator.status));
  end if;

  -- In the client's order: get-predecessor-output gives out the first.
  select array_agg(id order by position) into dependencies
    from (select value::uuid as id, min(ordinality) as position
            from jsonb_array_elements_text(coalesce(request -> 'dependant_on', '[]')) with ordinality
           group by 1) as given;
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

  perform public.lock_tenant(project.user_id);
  -- Read again: under the tenant's lock a limit neither comes nor goes.
  select * into project from public.projects where id = project.id;
  select * into quote from public.quote_task(type_row.name, new_params);
  goes_to_cloud := case when orchestrator.id is not null then orchestrator.in_cloud
    else (select allows_cloud from public.task_tenants where user_id = project.user_id) end;
  lane := public.find_lane(project, type_row.name, coalesce(public.model_of_params(new_params), ''),
                           goes_to_cloud, type_row.category = 'orchestration');

  insert into public.tasks (
    id, project_id, user_id, task_type, params, lane_id, run_type, model, is_orchestrator,
    orchestrator_task_id, dependant_on, unmet_dependencies, priority, run_after,
    is_scheduled, max_attempts, request_hash,
    in_cloud, price_id, upper_bound_microusd)
  values (
    new_id, project.id, project.user_id, type_row.name, new_params, lane, type_row.run_type,
    public.model_of_params(new_params), type_row.category = 'orchestration',
    orchestrator.id, dependencies, unmet,
    coalesce((request ->> 'priority')::smallint, 0), start_after,
    coalesce(start_after > now(), false),
    coalesce((request ->> 'max_attempts')::integer, 3), hash,
    goes_to_cloud, (quote.price).id, quote.upper_bound_microusd)
  on conflict (id) do nothing;
  if not found then
    -- The same id, committed by another request since our look.
    select * into known from public.tasks where id = new_id;
    return public.repeated_task(known, project.user_id, hash);
  end if;

  if dependencies is not null then
    insert into public.task_dependencies (dependency_id, task_id)
    select id, new_id from public.tasks where id = any (dependencies);
  end if;

  if goes_to_cloud then
    if orchestrator.id is null then
      perform public.open_hold(project.user_id, new_id, quote.upper_bound_microusd);
    else
      perform public.cover_child(orchestrator.id, quote.upper_bound_microusd);
    end if;
  end if;
  if unmet = 0 and not coalesce(start_after > now(), false) then
    perform public.ready_lane(lane, now());
  end if;

  return jsonb_build_object(
    'task_id', new_id, 'status', 'Task queued', 'task_type', type_row.name, 'project_id', project.id,
    'cost', quote.upper_bound_microusd / 10000.0, 'upper_bound_microusd', quote.upper_bound_microusd,
    'exact', quote.exact, 'price_version', (quote.price).version,
    'held_microusd', case when goes_to_cloud and orchestrator.id is null then quote.upper_bound_microusd else 0 end,
    'deduplicated', false);
end
$$;
revoke all on function public.create_one_task from public, anon, authenticated;
