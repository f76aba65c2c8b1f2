-- The generation under which an orchestration's outputs stand: the one that its params name, else one of its own, made
-- when it is first asked for. One an orchestrator, by its unique key: of two children that finish at once, one makes
-- it. An orchestration within another stands under that one's.
create or replace function public.parent_generation(orchestrator_id uuid, child public.tasks)
returns public.made_output
language plpgsql set search_path = '' as $$
declare
  orchestrator public.tasks;
  type_row public.task_types;
  named text;
  parent public.generations;
  warnings jsonb := '[]';
begin
  select * into orchestrator from public.tasks where id = orchestrator_id;
  foreach named in array array[
    orchestrator.params ->> 'parent_generation_id',
    orchestrator.params -> 'orchestrator_details' ->> 'parent_generation_id',
    child.params ->> 'parent_generation_id',
    child.params -> 'full_orchestrator_payload' ->> 'parent_generation_id'
  ] loop
    continue when named is null;
    parent := public.find_generation(named, child.project_id);
    if parent.id is not null then
      return row(parent.id, null, '[]')::public.made_output;
    end if;
    warnings := public.unknown_id('parent_generation_id');
  end loop;
  if orchestrator.orchestrator_task_id is not null then
    return public.parent_generation(orchestrator.orchestrator_task_id, child);
  end if;

  select * into parent from public.generations where source_task_id = orchestrator.id;
  if not found then
    select * into type_row from public.task_types where name = orchestrator.task_type;
    insert into public.generations (project_id, tasks, source_task_id, type, name, params)
    values (orchestrator.project_id, jsonb_build_array(orchestrator.id), orchestrator.id, 'video',
            public.generation_name_of_params(orchestrator.params),
            orchestrator.params || jsonb_build_object(
              'tool_type', coalesce(orchestrator.params ->> 'tool_type', type_row.tool_type)))
    on conflict (source_task_id) do nothing
    returning * into parent;
    if found then
      warnings := public.link_to_shot(orchestrator, parent.id, warnings);
    else
      select * into parent from public.generations where source_task_id = orchestrator.id;
    end if;
  end if;
  return row(parent.id, null, warnings)::public.made_output;
end
$$;
revoke all on function public.parent_generation from public, anon, authenticated;
