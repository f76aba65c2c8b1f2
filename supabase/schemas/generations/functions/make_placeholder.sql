-- The generation under which a new task's outputs will stand, made with the task: empty, in a shot, nowhere on its timeline.
-- `placeholder` is {id, shot_id, is_of_task}: an orchestrator's is its own, and parent_generation() finds it by that too;
-- that of a part by itself is nobody's, for the part makes a generation of its own.
create or replace function public.make_placeholder(task public.tasks, placeholder jsonb)
returns void
language plpgsql set search_path = '' as $$
declare
  new_id constant uuid := (placeholder ->> 'id')::uuid;
  source_task constant uuid := case when (placeholder -> 'is_of_task')::boolean then task.id end;
begin
  insert into public.generations (id, project_id, tasks, source_task_id, type, name, params)
  select new_id, task.project_id, to_jsonb(array_remove(array[source_task], null)), source_task, 'video',
         public.generation_name_of_params(task.params),
         task.params || jsonb_build_object(
           'tool_type', coalesce(task.params ->> 'tool_type', type_row.tool_type), 'created_from', 'shot_placeholder')
    from public.task_types as type_row where type_row.name = task.task_type;
  insert into public.shot_generations (shot_id, generation_id, source_task_id)
  values ((placeholder ->> 'shot_id')::uuid, new_id, source_task);
end
$$;
revoke all on function public.make_placeholder from public, anon, authenticated;
