-- Why a claim got nothing, in numbers of queued tasks, each counted under the first reason that holds it back. Reads
-- the queue, up to 10,000 tasks of it: for people who debug, not for polling. `types` are those that were asked for. A claim of a
-- provider, or of an own worker beside FAL, may have `allowed_types`, and `late_types` where a task has been ready since `late_before`.
create or replace function public.explain_empty_claim(
  for_user uuid, run_types text[], types text[], only_models text[], only_model text,
  for_provider text default null, allowed_types text[] default null, late_types text[] default null, late_before timestamptz default null
) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return (
    select jsonb_build_object(
        'queued', count(*),
        'other_run_type', count(*) filter (where reason = 'other_run_type'),
        'other_task_type', count(*) filter (where reason = 'other_task_type'),
        'other_model', count(*) filter (where reason = 'other_model'),
        'shares_run', count(*) filter (where reason = 'shares_run'),
        'blocked_by_dependency', count(*) filter (where reason = 'blocked_by_dependency'),
        'scheduled', count(*) filter (where reason = 'scheduled'),
        'local_off', count(*) filter (where reason = 'local_off'),
        'cloud_off', count(*) filter (where reason = 'cloud_off'),
        'no_credits', count(*) filter (where reason = 'no_credits'),
        'at_capacity', count(*) filter (where reason = 'at_capacity'),
        'at_project_limit', count(*) filter (where reason = 'at_project_limit'),
        'left_to_own_workers', count(*) filter (where reason = 'left_to_own_workers'),
        'left_to_fal', count(*) filter (where reason = 'left_to_fal'),
        'left_to_fal_or_own_workers', count(*) filter (where reason = 'left_to_fal_or_own_workers'),
        'fal_runs_none', count(*) filter (where reason = 'fal_runs_none'),
        'at_task_type_limit', count(*) filter (where reason = 'at_task_type_limit'),
        'claimable', count(*) filter (where reason = 'claimable'))
      from (
        select case
            when task.run_type <> all (run_types) then 'other_run_type'
            when kind.max_running_tasks is not null and not exists (
              select from public.task_type_slots as slot
               where slot.task_type = task.task_type and slot.task_id is null) then 'at_task_type_limit'
            when task.task_type <> all (types) or for_provider <> all (kind.runners) and (for_provider = 'fal' or for_user is null)
              then 'other_task_type'
            when coalesce(task.model, '') <> all (only_models) or coalesce(task.model, '') <> only_model then 'other_model'
            when task.is_following then 'shares_run'
            when task.unmet_dependencies > 0 then 'blocked_by_dependency'
            when task.is_scheduled then 'scheduled'
            when for_user is not null and not tenant.allows_local then 'local_off'
            when for_user is null and not tenant.allows_cloud then 'cloud_off'
            when for_user is null and not task.in_cloud then 'no_credits'
            when not task.is_orchestrator and not exists (
              select from public.task_slots as slot
               where slot.user_id = task.user_id and slot.task_id is null) then 'at_capacity'
            when not task.is_orchestrator and lane.project_id is not null and not exists (
              select from public.project_slots as slot
               where slot.project_id = task.project_id and slot.task_id is null) then 'at_project_limit'
            when task.task_type = any (late_types) and task.ready_at > late_before and job.task_id is null
              then 'left_to_own_workers'
            when task.task_type <> all (allowed_types) and task.task_type = any (late_types) is not true
              then case when for_provider is null then 'left_to_fal' when for_provider = 'fal' then 'fal_runs_none'
                        else 'left_to_fal_or_own_workers' end
            when for_user is null and job.provider <> coalesce(for_provider, '') and fal.is_active then 'left_to_fal'
            else 'claimable' end as reason
          from public.tasks as task
          join public.task_lanes as lane on lane.id = task.lane_id
          join public.task_types as kind on kind.name = task.task_type
          join public.task_tenants as tenant on tenant.user_id = task.user_id
          cross join (select public.fal_is_active(settings) as is_active from public.queue_settings as settings) as fal
          left join lateral (select begun.task_id, begun.provider from public.provider_jobs as begun
                              where begun.task_id = task.id and begun.by_owner = (for_user is not null) limit 1) as job on true
         where task.status = 'Queued' and (for_user is null or task.user_id = for_user)
         limit 10000) as queued);
end
$$;
revoke all on function public.explain_empty_claim from public, anon, authenticated;
