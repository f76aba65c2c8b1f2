-- What waits and what runs, for workers that decide whether to claim and for autoscalers: see the endpoint.
-- Numbers from the lanes' counts; the lists are the first tasks that a claim would meet, and what runs.
-- What is left to FAL is neither `queued_only` nor, while FAL runs it, `active_only`: autoscalers start workers for those two. The
-- call is all that a shipped API worker shows of itself while nothing is queued.
create or replace function public.task_counts_for(for_user uuid, for_run_type text default null, is_api_worker boolean default false)
returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  run_types constant text[] := case when for_run_type is null then array['gpu', 'api'] else array[for_run_type] end;
  list_size constant integer := 100;
  fal_types constant text[] := case when for_user is null then public.fal_only_types() else '{}' end;
  totals jsonb;
  users jsonb;
  queued jsonb;
  active jsonb;
  person record;
begin
  if is_api_worker and for_user is null then
    update public.queue_settings set api_worker_seen_at = now()
     where only_row = (select only_row from public.queue_settings
                        where api_worker_seen_at < now() - interval '10 seconds' for no key update skip locked);
  end if;
  select jsonb_build_object(
           'queued_only', coalesce(sum(claimable), 0), 'left_to_fal', 0,
           'eligible_queued', coalesce(sum(ready + ready_orchestrators) filter (where allowed), 0),
           'blocked_by_capacity',
             coalesce(sum(ready + ready_orchestrators - claimable) filter (where allowed), 0),
           'blocked_by_deps', coalesce(sum(blocked), 0),
           'blocked_by_schedule', coalesce(sum(scheduled), 0),
           'blocked_by_settings', coalesce(sum(ready + ready_orchestrators) filter (where not allowed), 0),
           'potentially_claimable', coalesce(sum(ready + ready_orchestrators) filter (where allowed), 0)),
         coalesce(jsonb_agg(jsonb_build_object(
             'user_id', queue.user_id, 'credits', account.balance_microusd / 10000.0,
             'queued_tasks', ready + ready_orchestrators + blocked + scheduled,
             'in_progress_tasks', running, 'allows_cloud', tenant.allows_cloud, 'at_limit', free_slots = 0)
           order by ready desc, queue.user_id) filter (where queue.rank <= 1000), '[]')
    into totals, users
    from (select *, row_number() over (order by in_use.ready desc, in_use.user_id) as rank
            from public.queue_of_users(for_user, run_types) as in_use) as queue
    join public.task_tenants as tenant on tenant.user_id = queue.user_id
    join public.credit_accounts as account on account.user_id = queue.user_id;

  if fal_types <> '{}' then
    select totals || jsonb_build_object(
             'queued_only', own.claimable, 'left_to_fal', (totals ->> 'queued_only')::integer - own.claimable)
      into totals
      from (select coalesce(sum(claimable), 0)::integer as claimable
              from public.queue_of_users(null, run_types, fal_types)) as own;
  end if;
  -- What an owner's machine runs is no work of the cloud's.
  select totals || jsonb_build_object(
           'active_only', count(*), 'queued_plus_active', (totals ->> 'queued_only')::integer + count(*))
    into totals
    from public.tasks
   where status = 'In Progress' and run_type = any (run_types)
     and case when for_user is null then not claimed_by_owner else user_id = for_user end
     and not (task_type = any (fal_types)
              and exists (select from public.workers as worker where worker.id = tasks.worker_id and worker.provider = 'fal'));

  select coalesce(jsonb_agg(jsonb_build_object(
           'task_id', task.id, 'task_type', task.task_type, 'user_id', task.user_id, 'created_at', task.created_at)
           order by task.created_at, task.id), '[]')
    into queued
    from (select next_task.*
            from (select id from public.task_lanes
                   where for_user is null and is_open and run_type = any (run_types) limit list_size) as lane,
                 lateral (select * from public.tasks
                           where lane_id = lane.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
                           order by priority desc, created_at, id limit list_size) as next_task
          union all
          select next_task.*
            from public.task_lanes as lane,
                 lateral (select * from public.tasks
                           where lane_id = lane.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
                           order by priority desc, created_at, id limit list_size) as next_task
           where lane.user_id = for_user and lane.is_ready and lane.run_type = any (run_types)
          limit list_size) as task;

  select coalesce(jsonb_agg(jsonb_build_object(
           'task_id', task.id, 'task_type', task.task_type, 'worker_id', task.worker_id, 'user_id', task.user_id,
           'started_at', task.generation_started_at) order by task.generation_started_at, task.id), '[]')
    into active
    from (select * from public.tasks
           where status = 'In Progress' and run_type = any (run_types) and (for_user is null or user_id = for_user)
           limit list_size) as task;

  totals := jsonb_build_object(
    'mode', 'count', 'timestamp', clock_timestamp(), 'run_type_filter', for_run_type, 'totals', totals,
    -- As older autoscalers and API workers read them.
    'queued_plus_active', totals -> 'queued_plus_active', 'available_tasks', totals -> 'queued_only',
    'queued_tasks', queued, 'active_tasks', active);
  if for_user is null then
    return totals || jsonb_build_object('users', users);
  end if;
  select account.balance_microusd / 10000.0 as credits, tenant.allows_local, tenant.allows_cloud, user_row.settings,
         (select count(*) from public.task_slots as slot where slot.user_id = for_user and slot.task_id is not null) as running
    into person
    from public.users as user_row
    join public.task_tenants as tenant on tenant.user_id = user_row.id
    join public.credit_accounts as account on account.user_id = user_row.id
   where user_row.id = for_user;
  return totals || jsonb_build_object(
    'user_id', for_user,
    'user_info', jsonb_build_object(
      'credits', person.credits, 'allows_local', person.allows_local, 'allows_cloud', person.allows_cloud,
      'settings', jsonb_build_object('ui', jsonb_build_object(
        'generationMethods', person.settings -> 'ui' -> 'generationMethods'))),
    'debug_summary', jsonb_build_object(
      'at_capacity', person.running >= 5, 'capacity_used_pct', person.running * 20,
      'can_claim_more', person.running < 5 and person.allows_local));
end
$$;
revoke all on function public.task_counts_for from public, anon, authenticated;
grant execute on function public.task_counts_for to service_role;
