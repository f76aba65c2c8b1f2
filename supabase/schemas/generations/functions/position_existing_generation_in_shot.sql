-- Gives an image that belongs to a shot without a place the next one on its timeline; adds it when it does not belong
-- there yet. For browsers, under the caller's policies.
create or replace function public.position_existing_generation_in_shot(p_shot_id uuid, p_generation_id uuid)
returns public.shot_generations
language plpgsql set search_path = '' as $$
declare
  placed public.shot_generations;
begin
  perform public.shot_to_change(p_shot_id);
  update public.shot_generations
     set timeline_frame = public.next_frame(p_shot_id), metadata = metadata || '{"auto_positioned": true}'
   where id = (select id from public.shot_generations
                where shot_id = p_shot_id and generation_id = p_generation_id and timeline_frame is null
                order by created_at, id limit 1)
  returning * into placed;
  if not found then
    placed := public.add_generation_to_shot(p_shot_id, p_generation_id);
  end if;
  return placed;
end
$$;
revoke all on function public.position_existing_generation_in_shot from public, anon, authenticated;
grant execute on function public.position_existing_generation_in_shot to authenticated, service_role;
