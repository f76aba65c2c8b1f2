-- Whether an orchestrator's worker will create a task that makes one of its parts, as far as params tell.
create or replace function public.plans_stitch(orchestrator public.tasks)
returns boolean
language plpgsql immutable set search_path = '' as $$
declare
  details constant jsonb := coalesce(orchestrator.params -> 'orchestrator_details', '{}');
begin
  if orchestrator.task_type = 'travel_orchestrator' then
    return jsonb_typeof(details -> 'stitch_config') = 'object' or details -> 'use_svi' = 'true'
      or coalesce(details ->> 'model_type', 'vace') = 'vace' and details -> 'chain_segments' is distinct from 'false'
         and not public.parts_are_independent(orchestrator);
  end if;
  return details -> 'use_parallel_joins' is distinct from 'false';
end
$$;
revoke all on function public.plans_stitch from public, anon, authenticated;
