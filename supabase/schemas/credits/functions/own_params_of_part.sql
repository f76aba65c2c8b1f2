-- What an orchestrator's details say of one of its children alone, as far as prices depend on it: the frames of a segment by its
-- place, those of a join by its place, those of a portion of an edited film, how many clips are stitched. In the form in which the child's params say it.
create or replace function public.own_params_of_part(for_task_type text, child_type text, details jsonb, place integer)
returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  own jsonb;
begin
  if child_type = 'travel_segment' then
    return jsonb_strip_nulls(jsonb_build_object('segment_frames_target', case
      when jsonb_typeof(details -> 'segment_frames_expanded') = 'array' then details -> 'segment_frames_expanded' -> place end));
  end if;
  if child_type = 'join_final_stitch' then
    return public.planned_clips(for_task_type, details);
  end if;
  if child_type <> 'join_clips_segment' then
    return '{}';
  end if;
  own := case for_task_type
    when 'edit_video_orchestrator' then
      case when jsonb_typeof(details -> 'portions_to_regenerate') = 'array' then details -> 'portions_to_regenerate' -> place end
    when 'travel_orchestrator' then details -> 'stitch_config'
    else case when jsonb_typeof(details -> 'per_join_settings') = 'array' then details -> 'per_join_settings' -> place end end;
  -- Nulls say nothing, here and in the child.
  own := case when jsonb_typeof(own) = 'object' then jsonb_strip_nulls(own) else '{}' end;
  if for_task_type = 'edit_video_orchestrator' then
    own := own || jsonb_build_object('gap_frame_count', coalesce(
      own -> 'gap_frame_count', own -> 'frame_count',
      to_jsonb(nullif(greatest(public.integer_or_null(own ->> 'end_frame') - public.integer_or_null(own ->> 'start_frame'), 0), 0))));
  elsif for_task_type = 'travel_orchestrator' then
    -- As the orchestration has it where the configuration says nothing.
    own := '{"gap_frame_count": 19, "context_frame_count": 12}' || own;
  end if;
  return jsonb_strip_nulls(jsonb_build_object(
    'gap_frame_count', own -> 'gap_frame_count', 'context_frame_count', own -> 'context_frame_count'));
end
$$;
revoke all on function public.own_params_of_part from public, anon, authenticated;
