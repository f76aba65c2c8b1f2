-- How many clips the final stitch of an orchestration joins, as a `clip_list` of so many: the clips of a join, the segments of a travel,
-- what portions leave of an edited film. At most 501.
create or replace function public.planned_clips(for_task_type text, details jsonb)
returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  settings constant jsonb := case for_task_type when 'travel_orchestrator' then details -> 'stitch_config' else details end;
  listed constant jsonb := case for_task_type
    when 'edit_video_orchestrator' then details -> 'portions_to_regenerate'
    when 'travel_orchestrator' then null
    else coalesce(nullif(details -> 'clip_list', '[]'), details -> 'segment_task_ids') end;
  clips integer := case when jsonb_typeof(listed) = 'array' then jsonb_array_length(listed) else 0 end;
begin
  if for_task_type = 'travel_orchestrator' then
    clips := coalesce(public.integer_or_null(details ->> 'num_new_segments_to_generate'), 1);
  elsif for_task_type = 'edit_video_orchestrator' then
    clips := clips + 1;
  end if;
  if settings -> 'loop_first_clip' = 'true' then
    clips := clips + 1;
  end if;
  return jsonb_build_object('clip_list', (
    select coalesce(jsonb_agg(place), '[]') from generate_series(1, least(clips, 501)) as place));
end
$$;
revoke all on function public.planned_clips from public, anon, authenticated;
