-- The task types that active own workers can run: the operator's, or with `for_user` those of that owner. A worker that names task
-- types can run those; one that names none, what shipped workers of its run type run. One that has only sent heartbeats is
-- a GPU worker, for these start so. With `active_within`, those that were active within that time, whatever they are now.
-- Active: a heartbeat, or a claim where it sends none, within its time; or a run with a valid lease.
create or replace function public.own_worker_types(for_user uuid default null, active_within interval default null)
returns text[]
language plpgsql stable set search_path = '' as $$
declare
  settings public.queue_settings;
begin
  select * into settings from public.queue_settings;
  return array(
    with candidate as (
      select worker.* from public.workers as worker
       where for_user is null and active_within is null
         and worker.user_id is null and worker.provider is null and worker.status = 'active'
      union all
      select worker.* from public.workers as worker
       where for_user is null and active_within is not null and worker.user_id is null and worker.provider is null
      union all
      select worker.* from public.workers as worker
       where for_user is not null and worker.user_id = for_user and worker.provider is null and worker.status = 'active'
    ), active as (
      select distinct case when last_claim_at is null then 'gpu' else claimed_run_type end as run_type,
             claimed_task_types as task_types
        from candidate
       where last_heartbeat > now() - coalesce(active_within, settings.heartbeat_lease)
          or last_claim_at > now() - coalesce(active_within, case when heartbeats then settings.heartbeat_lease
                                                                  else settings.claimer_active_for end)
          or not heartbeats and exists (
            select from public.tasks
             where status = 'In Progress' and lease_expires_at > now() and claimed_by_owner = (for_user is not null)
               and worker_id = case when for_user is null then candidate.id
                                    else substr(candidate.id, length(for_user::text) + 2) end)
      union
      select 'api', null
       where for_user is null
         and settings.api_worker_seen_at > now() - coalesce(active_within, settings.claimer_active_for)
    )
    select kind.name
      from public.task_types as kind
     where kind.alias_of is null
       and exists (
         select from active
          where (active.run_type is null or active.run_type = kind.run_type)
            and case when active.task_types is null
                       then kind.runners && array[case when kind.run_type = 'api' then 'api_worker' else 'gpu_worker' end]
                     else kind.name = any (active.task_types)
                       or exists (select from public.task_types as alias
                                   where alias.alias_of = kind.name and alias.name = any (active.task_types)) end)
     order by kind.name);
end
$$;
revoke all on function public.own_worker_types from public, anon, authenticated;
