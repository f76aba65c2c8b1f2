-- Keeps `generations.shot_data`: where a generation stands, by shot, in the order of the timeline.
create or replace function public.rebuild_shot_data()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  changed uuid;
begin
  for changed in
    select distinct id from unnest(array[case when tg_op <> 'INSERT' then old.generation_id end,
                                         case when tg_op <> 'DELETE' then new.generation_id end]) as id
     where id is not null order by id
  loop
    -- Locked first, so that of two changes the later one counts both.
    perform from public.generations where id = changed for no key update;
    update public.generations
       set shot_data = (
             select coalesce(jsonb_object_agg(shot_id, frames), '{}')
               from (select shot_id, jsonb_agg(timeline_frame order by timeline_frame, id) as frames
                       from public.shot_generations where generation_id = changed group by shot_id) as by_shot)
     where id = changed;
  end loop;
  return null;
end
$$;
revoke all on function public.rebuild_shot_data from public, anon, authenticated;
