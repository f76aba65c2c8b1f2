-- How long the film is that is made of many, as far as params tell: of a travel by the frames that are planned for each segment, of
-- joined clips ten seconds for each clip and each transition. Null where nothing is planned, or the type makes another film.
create or replace function public.planned_seconds(for_task_type text, params jsonb)
returns numeric
language plpgsql stable set search_path = '' as $$
declare
  frames jsonb;
  parts integer;
  total numeric := 0;
begin
  if for_task_type = 'join_final_stitch' then
    return (
      select least(10 * sum(jsonb_array_length(list)), 3600)
        from (values (public.planned_list(for_task_type, params, 'clip_list')),
                     (public.planned_list(for_task_type, params, 'transition_task_ids'))) as pieces (list));
  end if;
  if for_task_type not in ('wan_2_2_i2v', 'travel_stitch') then
    return null;
  end if;
  frames := public.planned_list(for_task_type, params, 'segment_frames_expanded');
  if frames is null then
    return null;
  end if;
  parts := case for_task_type
    when 'wan_2_2_i2v' then public.passages_of_film(for_task_type, params) else jsonb_array_length(frames) end;
  for part in 0 .. least(parts, 500) - 1 loop
    total := total + public.seconds_of_frames((coalesce(public.planned_frames(
      for_task_type, jsonb_build_object('segment_index', part, 'segment_frames_expanded', frames)), '81') #>> '{}')::numeric);
  end loop;
  -- The longest film that has a price.
  return least(total, 3600);
end
$$;
revoke all on function public.planned_seconds from public, anon, authenticated;
