-- One task of a claim: see claim_next_task. Its stages: what has waited too long for a warm worker, what that worker
-- has loaded, anything that it may have. `late_types`, `late_before`: see claim_of_user(). `skip_jobs_of`: see claim_from_lane().
create or replace function public.claim_one_task(
  for_user uuid, for_worker text, heartbeat_lease interval, affinity_max_wait interval, warm_model text,
  run_types text[], types text[], only_models text[], same_model_only boolean,
  late_types text[], late_before timestamptz, skip_jobs_of text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  -- Null when the worker's model is none of those that it asks for.
  preferred constant text := case when only_models is null or warm_model = any (only_models) then warm_model end;
  claimed jsonb;
begin
  if same_model_only and preferred is null then
    return null;
  end if;
  if for_user is not null then
    if not (select allows_local from public.task_tenants where user_id = for_user) then
      return null;
    end if;
    return public.claim_of_user(for_user, 'owner', run_types, types,
                                case when same_model_only then array[preferred] else only_models end, warm_model,
                                for_worker, heartbeat_lease, affinity_max_wait, late_types, late_before, skip_jobs_of);
  end if;

  if preferred is not null then
    if not same_model_only and exists (select from public.task_lanes where is_open and is_overdue) then
      claimed := public.claim_by_lane('overdue', run_types, types, only_models, for_worker, heartbeat_lease, affinity_max_wait,
                                      late_types, late_before, skip_jobs_of);
    end if;
    if claimed is null then
      claimed := public.claim_by_turn(run_types, types, array[preferred], for_worker, heartbeat_lease, affinity_max_wait,
                                      late_types, late_before, skip_jobs_of);
    end if;
    if claimed is null then
      claimed := public.claim_by_lane('turn', run_types, types, array[preferred], for_worker, heartbeat_lease, affinity_max_wait,
                                      late_types, late_before, skip_jobs_of);
    end if;
    if claimed is not null or same_model_only then
      return claimed;
    end if;
  end if;
  claimed := public.claim_by_turn(run_types, types, only_models, for_worker, heartbeat_lease, affinity_max_wait,
                                  late_types, late_before, skip_jobs_of);
  if claimed is null and (types is not null or only_models is not null) then
    claimed := public.claim_by_lane('turn', run_types, types, only_models, for_worker, heartbeat_lease, affinity_max_wait,
                                    late_types, late_before, skip_jobs_of);
  end if;
  return claimed;
end
$$;
revoke all on function public.claim_one_task from public, anon, authenticated;
