-- Puts a generation into a shot: at the end of the timeline (see next_frame), or without a place. Each call adds one
-- more place. For browsers, under the caller's policies.
create or replace function public.add_generation_to_shot(
  p_shot_id uuid, p_generation_id uuid, p_with_position boolean default true
) returns public.shot_generations
language plpgsql set search_path = '' as $$
declare
  added public.shot_generations;
begin
  -- Two at once take two places.
  perform public.shot_to_change(p_shot_id);
  if not exists (select from public.generations where id = p_generation_id) then
    perform public.refuse('generation_not_found', 404);
  end if;
  insert into public.shot_generations (shot_id, generation_id, timeline_frame, metadata)
  values (p_shot_id, p_generation_id, case when p_with_position then public.next_frame(p_shot_id) end,
          case when p_with_position then '{"auto_positioned": true}'::jsonb else '{}' end)
  returning * into added;
  return added;
end
$$;
revoke all on function public.add_generation_to_shot from public, anon, authenticated;
grant execute on function public.add_generation_to_shot to authenticated, service_role;
