-- The task, running or archived, that these params name as their orchestrator: the first of the known places
-- that holds a row's uuid. Readable ids, which browsers put there, are not one.
create or replace function public.orchestrator_of_params(params jsonb)
returns uuid
language sql stable set search_path = '' as $$
  select task.id
    from unnest(array[
           params ->> 'orchestrator_task_id_ref',
           params -> 'orchestrator_details' ->> 'orchestrator_task_id_ref',
           params -> 'orchestrator_details' ->> 'orchestrator_task_id',
           params -> 'originalParams' -> 'orchestrator_details' ->> 'orchestrator_task_id',
           params ->> 'orchestrator_task_id',
           params -> 'full_orchestrator_payload' ->> 'orchestrator_task_id',
           params -> 'orchestration_contract' ->> 'orchestrator_task_id'
         ]) with ordinality as place (reference, position)
    cross join lateral (
      select id, is_orchestrator from public.all_tasks
       where id = case when place.reference ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'
                       then place.reference::uuid end
       limit 1
    ) as task
   where task.is_orchestrator
   order by place.position limit 1
$$;
revoke all on function public.orchestrator_of_params from public, anon, authenticated;
