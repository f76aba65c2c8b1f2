-- Why a claim got nothing, in numbers of queued tasks. Reads the queue: for people who debug, not for polling.
create or replace function public.explain_empty_claim(for_user uuid, types text[])
returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'queued', count(*),
    'other_task_type', count(*) filter (where not matches),
    'blocked_by_dependency', count(*) filter (where matches and blocked),
    'not_in_cloud', count(*) filter (where matches and not blocked and not cloud),
    'at_capacity', count(*) filter (where matches and not blocked and cloud and full_up),
    'claimable', count(*) filter (where matches and not blocked and cloud and not full_up))
    from (
      select coalesce(task.task_type = any (types), false) as matches,
             task.unmet_dependencies > 0 as blocked,
             for_user is not null or (task.in_cloud and tenant.allows_cloud) as cloud,
             not task.is_orchestrator and not exists (
               select from public.task_slots as slot
                where slot.user_id = task.user_id and slot.task_id is null) as full_up
        from public.tasks as task
        join public.task_tenants as tenant on tenant.user_id = task.user_id
       where task.status = 'Queued' and (for_user is null or task.user_id = for_user)
       limit 10000
    ) as queued
$$;
revoke all on function public.explain_empty_claim from public, anon, authenticated;
