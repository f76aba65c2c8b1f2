-- What an orchestrator's lists say of one segment.
create or replace function public.segment_params(params jsonb, segment integer)
returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  details constant jsonb := coalesce(params -> 'orchestrator_details', params -> 'full_orchestrator_payload');
begin
  return jsonb_strip_nulls(jsonb_build_object(
    'prompt', details -> 'base_prompts_expanded' -> segment,
    'negative_prompt', details -> 'negative_prompts_expanded' -> segment,
    'num_frames', details -> 'segment_frames_expanded' -> segment,
    'frame_overlap', details -> 'frame_overlap_expanded' -> segment,
    'pair_shot_generation_id', public.pair_of_params(params, segment),
    'start_image_generation_id', details -> 'input_image_generation_ids' -> segment,
    'end_image_generation_id', details -> 'input_image_generation_ids' -> (segment + 1)));
end
$$;
revoke all on function public.segment_params from public, anon, authenticated;
