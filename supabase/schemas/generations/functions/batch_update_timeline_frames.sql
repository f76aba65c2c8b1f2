-- Moves images of shots: [{shot_generation_id, timeline_frame (null: off the timeline), metadata?}], at most 1,000, all
-- or none; metadata is added to what is there. Answers what moved. For browsers, under the caller's policies.
create or replace function public.batch_update_timeline_frames(p_updates jsonb)
returns table (shot_generation_id uuid, timeline_frame integer)
language plpgsql set search_path = '' as $$
declare
  wanted integer;
  moved integer;
begin
  if jsonb_typeof(p_updates) is distinct from 'array' or jsonb_array_length(p_updates) > 1000 then
    perform public.refuse('invalid_request', 400, '{"field": "p_updates"}');
  end if;
  select count(distinct item ->> 'shot_generation_id') into wanted from jsonb_array_elements(p_updates) as item;
  -- Shots in order, so that two who move images of the same ones do not wait for each other in a circle.
  perform from public.shots as shot
    where shot.id in (select place.shot_id from public.shot_generations as place
                       where place.id in (select public.uuid_or_null(item ->> 'shot_generation_id')
                                            from jsonb_array_elements(p_updates) as item))
    order by shot.id for no key update;
  return query
    update public.shot_generations as place
       set timeline_frame = change.frame, metadata = place.metadata || change.metadata
      from (select distinct on (item ->> 'shot_generation_id')
                   public.uuid_or_null(item ->> 'shot_generation_id') as id,
                   (item ->> 'timeline_frame')::integer as frame,
                   case when jsonb_typeof(item -> 'metadata') = 'object' then item -> 'metadata' else '{}' end as metadata
              from jsonb_array_elements(p_updates) with ordinality as given (item, number)
             order by item ->> 'shot_generation_id', number desc) as change
     where place.id = change.id
    returning place.id, place.timeline_frame;
  get diagnostics moved = row_count;
  if moved <> wanted then
    perform public.refuse('generation_not_found', 404);
  end if;
end
$$;
revoke all on function public.batch_update_timeline_frames from public, anon, authenticated;
grant execute on function public.batch_update_timeline_frames to authenticated, service_role;
