-- Moves tasks to a worker, one or up to `max_tasks`; null when there is none.
-- Guarantees: a task goes to one worker, and no user, project or task type has more running tasks than slots,
-- for task and slots are locked as they are chosen; whatever another claim has locked is skipped, so no claim
-- waits for another.
-- Order: a warm worker's loaded model first, unless a task has waited longer than `affinity_max_wait`; then the
-- user served longest ago; within a user by priority, then age.
-- `for_user` limits it to that owner's tasks (a token), which then need no cover.
-- `for_provider` names what runs the tasks where that is no own worker: see provider_task_types(). FAL may state its rule, which
-- then holds for the database; a token's for its own claim alone.
-- A worker of the service that names no task types is a shipped one, which fails what it does not know: while FAL is active, it gets no type
-- that no shipped worker of that run type runs.
create or replace function public.claim_next_task(
  for_user uuid default null, for_worker text default null, for_run_type text default null,
  only_task_types text[] default null, only_models text[] default null, same_model_only boolean default false,
  max_tasks integer default null, debug boolean default false,
  for_provider text default null, fal_runs text default null, fal_after_seconds integer default null
) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  provider constant text := coalesce(for_provider, case when public.is_sandbox_worker(for_worker) then 'sandbox' end);
  worker_name constant text := coalesce(for_worker, provider);
  row_id constant text := coalesce(for_user || ':', '') || worker_name;
  -- What a claim needs to know, looked up at once.
  known record;
  worker public.workers;
  run_types constant text[] := case when for_run_type is null then array['gpu', 'api'] else array[for_run_type] end;
  -- Null when all types of these run types will do. Of late types only what has waited since `late_before`.
  types text[];
  late_types text[];
  late_before timestamptz;
  allowed record;
  is_ruled constant boolean := provider = 'fal' or provider = 'sandbox' and for_user is null;
  -- What FAL has begun to run it resumes, while it is active.
  skip_jobs_of text;
  -- Task types that only FAL can run, where the claim may not have them.
  left_to_fal text[];
  claimed jsonb;
  claims jsonb := '[]';
begin
  -- Hosts tend the queue every two seconds, and pg_cron every five: then a claim does no maintenance.
  select settings.tended_at >= now() - interval '15 seconds' as is_tended, settings.heartbeat_lease, settings.affinity_max_wait, caller as worker,
         settings as settings, public.fal_is_active(settings) as fal_is_active, exists (select from public.task_type_slots) as has_limited_types
    into known
    from public.queue_settings as settings left join public.workers as caller on caller.id = row_id;
  if not known.is_tended then
    perform public.tend_queue(16);
  end if;
  worker := known.worker;
  if worker.id is null and row_id is not null then
    worker := public.register_worker(worker_name, for_user);
  end if;
  -- A machine that an operator takes out of service gets no more work. One that said so of itself and asks is back.
  if worker.status in ('error', 'terminating', 'terminated') and public.operator_decided(worker) then
    return case when debug then jsonb_build_object('debug', jsonb_build_object('worker_is_' || worker.status, 1)) end;
  end if;

  if worker.id is not null then
    perform public.note_claim(worker, provider, for_run_type, only_task_types);
  end if;
  if provider = 'fal' and for_user is null then
    perform public.note_fal(fal_runs, fal_after_seconds);
  end if;
  if is_ruled then
    select * into allowed from public.provider_task_types(
      provider, for_user,
      coalesce(fal_runs, case when for_user is null then (known.settings).fal_runs else 'missing' end));
    late_before := now() - coalesce(make_interval(secs => fal_after_seconds), (known.settings).fal_after);
  end if;
  if for_user is null and provider is distinct from 'fal' and known.fal_is_active then
    skip_jobs_of := 'fal';
  end if;
  if for_user is null and provider is null and only_task_types is null and known.fal_is_active then
    left_to_fal := public.fal_only_types('missing');
  end if;

  while jsonb_array_length(claims) < coalesce(max_tasks, 1) loop
    -- A type at its limit is left out here, so its lanes are not even looked at.
    types := null;
    if only_task_types is not null then
      types := public.claimable_task_types(run_types, only_task_types);
    elsif known.has_limited_types then
      if exists (select from public.task_types as kind
                  where kind.max_running_tasks is not null
                    and not exists (select from public.task_type_slots as free
                                     where free.task_type = kind.name and free.task_id is null)) then
        types := public.claimable_task_types(run_types, null);
      end if;
    end if;
    if is_ruled then
      types := coalesce(types, public.claimable_task_types(run_types, only_task_types));
      late_types := array(select unnest(types) intersect select unnest(allowed.late_types));
      types := array(select unnest(types) intersect select unnest(allowed.types));
      exit when types = '{}' and late_types = '{}';
    elsif left_to_fal <> '{}' then
      types := array(select unnest(coalesce(types, public.claimable_task_types(run_types, null))) except select unnest(left_to_fal));
    end if;
    claimed := public.claim_one_task(for_user, worker_name, case when worker.heartbeats then known.heartbeat_lease end,
                                     known.affinity_max_wait, worker.current_model, run_types, types, only_models,
                                     same_model_only and worker.current_model is not null, late_types, late_before,
                                     skip_jobs_of);
    if claimed is null and claims = '[]' and not known.is_tended and public.release_overdue_work() then
      continue;
    end if;
    exit when claimed is null;
    claims := claims || claimed;
  end loop;

  if claims <> '[]' then
    return case when max_tasks > 1 then jsonb_build_object('tasks', claims) else claims -> 0 end;
  end if;
  if debug then
    return jsonb_build_object('debug', public.explain_empty_claim(
      for_user, run_types,
      case when is_ruled or left_to_fal <> '{}' then public.claimable_task_types(run_types, only_task_types) else types end,
      only_models, case when same_model_only then worker.current_model end, provider, types, late_types, late_before));
  end if;
  return null;
end
$$;
revoke all on function public.claim_next_task from public, anon, authenticated;
grant execute on function public.claim_next_task to service_role;
