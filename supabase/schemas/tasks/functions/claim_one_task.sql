-- One task of a claim: see claim_next_task. Tries lanes in the order of the claim's stages, until a lane's user
-- has a task and the slots for it. A lane that another claim is taking from is left to the end, so that claims at
-- the same moment serve different users; then it is tried too, for its user may have more slots.
create or replace function public.claim_one_task(
  for_user uuid, for_worker text, worker_heartbeats boolean, warm_model text, run_types text[], types text[],
  only_models text[], same_model_only boolean, settings public.queue_settings
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  stage text;
  -- By run type there are fewer places to look than by task type.
  kind constant text := case when types is null then 'run type' else 'task type' end;
  kinds constant text[] := coalesce(types, run_types);
  -- Null when the worker's model is none of those that it asks for.
  preferred constant text := case when only_models is null or warm_model = any (only_models) then warm_model end;
  last_stage constant text := case when only_models is null then kind else kind || ' and model' end;
  stages text[] := array[last_stage];
  models text[];
  lane public.task_lanes;
  tried bigint[];
  failed_users uuid[];
  busy_users uuid[];
  busy_user uuid;
  claimed jsonb;
begin
  if same_model_only and preferred is null then
    return null;
  end if;
  if for_user is not null then
    if not (select allows_local from public.task_tenants where user_id = for_user) then
      return null;
    end if;
    models := case when same_model_only then array[preferred] else only_models end;
    return public.claim_of_user(for_user, 'owner', run_types, types, models, warm_model, for_worker,
                                worker_heartbeats, settings);
  end if;
  if same_model_only then
    stages := array['warm'];
  elsif preferred is not null then
    stages := array['warm', last_stage];
    if exists (select from public.task_lanes where is_open and is_overdue) then
      stages := array_prepend('overdue', stages);
    end if;
  end if;

  foreach stage in array stages loop
    models := only_models;
    if stage = 'warm' then
      stage := kind || ' and model';
      models := array[preferred];
    elsif stage = 'overdue' and models is not null then
      stage := 'overdue and model';
    end if;
    tried := '{}';
    failed_users := '{}';
    if types is null and cardinality(run_types) = 1 and stage like 'run type%' and coalesce(cardinality(models), 1) = 1 then
      lane := public.first_lane(run_types[1], models[1]);
      -- None that is free; there may be some that other claims are taking from.
      if lane.id is not null then
        perform public.take_lanes(lane.user_id);
        claimed := public.claim_of_user(lane.user_id, stage, run_types, types, models, warm_model, for_worker,
                                        worker_heartbeats, settings);
        if claimed is not null then
          return claimed;
        end if;
        tried := array[lane.id];
        failed_users := array[lane.user_id];
      end if;
    end if;
    busy_users := '{}';
    for page in 1 .. 64 loop
      for lane in select * from public.lanes_to_try(
        stage, case when stage like 'overdue%' then coalesce(types, public.claimable_task_types(run_types, null))
                    else kinds end, models, tried, case page when 1 then 4 else 64 end) loop
        tried := tried || lane.id;
        continue when lane.user_id = any (failed_users) or lane.user_id = any (busy_users);
        perform from public.task_lanes where id = lane.id for no key update skip locked;
        if not found then
          busy_users := busy_users || lane.user_id;
          continue;
        end if;
        perform public.take_lanes(lane.user_id);
        claimed := public.claim_of_user(lane.user_id, stage, run_types, types, models, warm_model, for_worker,
                                        worker_heartbeats, settings);
        if claimed is not null then
          return claimed;
        end if;
        failed_users := failed_users || lane.user_id;
      end loop;
      exit when not found;
    end loop;
    foreach busy_user in array busy_users loop
      claimed := public.claim_of_user(busy_user, stage, run_types, types, models, warm_model, for_worker,
                                      worker_heartbeats, settings);
      if claimed is not null then
        return claimed;
      end if;
    end loop;
  end loop;
  return null;
end
$$;
revoke all on function public.claim_one_task from public, anon, authenticated;
