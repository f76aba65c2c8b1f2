-- How many segments or joins an orchestrator was asked for; null when its params do not say.
create or replace function public.expected_parts(orchestrator public.tasks)
returns integer
language plpgsql immutable set search_path = '' as $$
declare
  details constant jsonb := coalesce(orchestrator.params -> 'orchestrator_details', '{}') ;
  clips integer;
begin
  if orchestrator.task_type = 'travel_orchestrator' then
    return coalesce(public.integer_or_null(details ->> 'num_new_segments_to_generate'),
                    public.integer_or_null(orchestrator.params ->> 'num_new_segments_to_generate'));
  end if;
  if orchestrator.task_type <> 'join_clips_orchestrator' then
    return null;
  end if;
  clips := case
    when jsonb_typeof(details -> 'clip_list') = 'array' then jsonb_array_length(details -> 'clip_list')
    when jsonb_typeof(details -> 'segment_task_ids') = 'array' then jsonb_array_length(details -> 'segment_task_ids') end;
  if clips > 1 then
    return clips - case when details -> 'loop_first_clip' = 'true' then 0 else 1 end;
  end if;
  return coalesce(public.integer_or_null(details ->> 'num_joins'), public.integer_or_null(orchestrator.params ->> 'num_joins'));
end
$$;
revoke all on function public.expected_parts from public, anon, authenticated;
