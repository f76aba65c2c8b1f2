-- Two images of a shot change places. For browsers, under the caller's policies.
create or replace function public.exchange_timeline_frames(
  p_shot_id uuid, p_first_shot_generation_id uuid, p_second_shot_generation_id uuid
) returns void
language plpgsql set search_path = '' as $$
declare
  moved integer;
begin
  perform public.shot_to_change(p_shot_id);
  update public.shot_generations as place set timeline_frame = other.timeline_frame
    from public.shot_generations as other
   where place.shot_id = p_shot_id and other.shot_id = p_shot_id and place.id <> other.id
     and place.id in (p_first_shot_generation_id, p_second_shot_generation_id)
     and other.id in (p_first_shot_generation_id, p_second_shot_generation_id);
  get diagnostics moved = row_count;
  if moved <> 2 then
    perform public.refuse('generation_not_found', 404);
  end if;
end
$$;
revoke all on function public.exchange_timeline_frames from public, anon, authenticated;
grant execute on function public.exchange_timeline_frames to authenticated, service_role;
