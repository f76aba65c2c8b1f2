-- Puts what a task made into the shot that its params name, once; says in `warnings` when there is no such shot.
create or replace function public.link_to_shot(task public.tasks, made_generation uuid, warnings jsonb)
returns jsonb
language plpgsql set search_path = '' as $$
declare
  details constant jsonb := task.params -> 'orchestrator_details';
  original constant jsonb := task.params -> 'originalParams';
  named constant text := public.shot_of_params(task.params);
  shot constant uuid := public.uuid_or_null(named);
  has_place boolean;
begin
  if named is null then
    return warnings;
  end if;
  -- Locked, so that two at once take two places.
  perform from public.shots where id = shot and project_id = task.project_id for no key update;
  if not found then
    return warnings || public.unknown_id('shot_id');
  end if;
  has_place := coalesce(task.params ->> 'add_in_position', original ->> 'add_in_position', details ->> 'add_in_position',
                        original -> 'orchestrator_details' ->> 'add_in_position') in ('true', '1');
  insert into public.shot_generations (shot_id, generation_id, timeline_frame, metadata, source_task_id)
  values (shot, made_generation, case when has_place then public.next_frame(shot) end,
          case when has_place then '{"auto_positioned": true}'::jsonb else '{}' end, task.id)
  on conflict (shot_id, source_task_id) do nothing;
  return warnings;
end
$$;
revoke all on function public.link_to_shot from public, anon, authenticated;
