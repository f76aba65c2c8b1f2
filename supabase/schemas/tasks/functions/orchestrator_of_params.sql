-- The task that these params name as their orchestrator: the first of the known places that holds a row's
-- uuid. Readable ids, which browsers put there, are not one.
create or replace function public.orchestrator_of_params(params jsonb)
returns uuid
language plpgsql stable set search_path = '' as $$
declare
  reference text;
  orchestrator uuid;
begin
  foreach reference in array array[
    params ->> 'orchestrator_task_id_ref',
    params -> 'orchestrator_details' ->> 'orchestrator_task_id_ref',
    params -> 'orchestrator_details' ->> 'orchestrator_task_id',
    params -> 'originalParams' -> 'orchestrator_details' ->> 'orchestrator_task_id',
    params ->> 'orchestrator_task_id',
    params -> 'full_orchestrator_payload' ->> 'orchestrator_task_id',
    params -> 'orchestration_contract' ->> 'orchestrator_task_id',
    params -> 'orchestrator_details' ->> 'parent_orchestrator_task_id',
    params ->> 'parent_orchestrator_task_id',
    params ->> 'orchestrator_id'
  ] loop
    continue when reference is null or reference !~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$';
    select id into orchestrator from public.tasks where id = reference::uuid and is_orchestrator;
    if not found then
      select id into orchestrator from public.archived_tasks where id = reference::uuid and is_orchestrator;
    end if;
    if orchestrator is not null then
      return orchestrator;
    end if;
  end loop;
  return null;
end
$$;
revoke all on function public.orchestrator_of_params from public, anon, authenticated;
