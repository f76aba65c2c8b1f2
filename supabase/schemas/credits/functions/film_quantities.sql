-- The quantities that decide how long the film of a task type is, where the price counts its seconds and no parameter says them:
-- the frames of a segment, or the new frames of a join with those of both clips that it is made from. Empty for other types.
create or replace function public.film_quantities(for_task_type text)
returns text[]
language plpgsql immutable set search_path = '' as $$
begin
  return case
    when for_task_type in ('travel_segment', 'individual_travel_segment') then array['frames']
    when for_task_type in ('join_clips_segment', 'edit_video_segment') then array['gap_frames', 'context_frames']
    else '{}' end;
end
$$;
revoke all on function public.film_quantities from public, anon, authenticated;
