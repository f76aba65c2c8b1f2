-- How long the film is that is made of many, as far as params tell: of a travel by the frames that are planned for each segment, of
-- joined clips twenty seconds for each clip with its transition. Null where nothing is planned, or the type makes another film.
create or replace function public.planned_seconds(for_task_type text, params jsonb)
returns numeric
language plpgsql stable set search_path = '' as $$
declare
  planned jsonb;
  parts integer;
  frames numeric;
  total numeric := 0;
begin
  if for_task_type = 'join_final_stitch' then
    planned := public.planned_list(for_task_type, params, 'clip_list');
    return case when planned is not null then least(20 * jsonb_array_length(planned), 3600) end;
  end if;
  if for_task_type not in ('wan_2_2_i2v', 'travel_stitch') then
    return null;
  end if;
  planned := public.planned_list(for_task_type, params, 'segment_frames_expanded');
  if planned is null then
    return null;
  end if;
  parts := case for_task_type
    when 'wan_2_2_i2v' then public.passages_of_film(for_task_type, params) else jsonb_array_length(planned) end;
  for part in 0 .. least(parts, 500) - 1 loop
    frames := (coalesce(public.planned_frames(
      for_task_type, jsonb_build_object('segment_index', part, 'segment_frames_expanded', planned)), '61') #>> '{}')::numeric;
    -- A stitch shows the first frame of every segment as well.
    total := total + case for_task_type when 'travel_stitch' then frames / 16 else public.seconds_of_frames(frames) end;
  end loop;
  total := ceil(total);
  -- The longest film that has a price.
  return least(total, 3600);
end
$$;
revoke all on function public.planned_seconds from public, anon, authenticated;
