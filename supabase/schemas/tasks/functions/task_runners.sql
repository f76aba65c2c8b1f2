-- What runs each task type at this moment: own workers that are active, FAL by its rule where it is configured, and whether the
-- sandbox may. For people; no claim asks it.
create or replace function public.task_runners()
returns table (task_type text, is_visible boolean, own_workers boolean, fal boolean, sandbox boolean)
language plpgsql stable set search_path = '' as $$
declare
  own_types constant text[] := public.own_worker_types();
  sandbox_types constant text[] := (public.provider_task_types('sandbox', null, null)).types;
begin
  return query
    select kind.name, kind.is_visible, kind.name = any (own_types),
           settings.fal_is_configured and settings.fal_runs <> 'none' and 'fal' = any (kind.runners), kind.name = any (sandbox_types)
      from public.task_types as kind, public.queue_settings as settings
     where kind.alias_of is null and kind.category <> 'call' and kind.is_active
     order by kind.name;
end
$$;
revoke all on function public.task_runners from public, anon, authenticated;
