-- The task types whose tasks are left to FAL, so that no own worker is started for them: none while FAL is not active; all that
-- it can run by the rule `all`; by the rule `missing` those that shipped own workers of their run type cannot run. A caller may ask
-- what another rule than the stored one would leave.
create or replace function public.fal_only_types(rule text default null)
returns text[]
language sql stable set search_path = '' as $$
  select coalesce(array_agg(kind.name), '{}')
    from public.queue_settings as settings, public.task_types as kind
   where public.fal_is_active(settings) and 'fal' = any (kind.runners)
     and (coalesce(rule, settings.fal_runs) = 'all'
          or case when kind.run_type = 'api' then 'api_worker' else 'gpu_worker' end <> all (kind.runners))
$$;
revoke all on function public.fal_only_types from public, anon, authenticated;
