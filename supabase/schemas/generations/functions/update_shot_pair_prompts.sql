-- Writes the prompts of a shot's transitions to its images: the first prompt is of the way from the first image to the
-- second, and so on. Videos and what stands nowhere count as no image. Empty prompts leave what is there, and so does
-- everything else that an image's metadata holds. One statement, so nothing that is written at the same time is lost.
create or replace function public.update_shot_pair_prompts(
  for_user uuid, for_shot uuid, enhanced_prompts text[] default null, pair_prompts text[] default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  images integer;
  updated integer;
begin
  -- Locked, so that two of these take turns.
  perform from public.shots as shot
    where shot.id = for_shot
      and (for_user is null or exists (select from public.projects where id = shot.project_id and user_id = for_user))
    for no key update;
  if not found then
    perform public.refuse('shot_not_found', 404);
  end if;
  with image as (
    select place.id, row_number() over (order by place.timeline_frame, place.id) as number
      from public.shot_generations as place
      join public.generations as generation on generation.id = place.generation_id
     where place.shot_id = for_shot and place.timeline_frame >= 0
       and coalesce(generation.type, 'image') not in ('video', 'video_travel_output')
       and coalesce(generation.location, '') !~* '\.(mp4|webm|mov)([?#]|$)'
  ), written as (
    update public.shot_generations as place
       set metadata = place.metadata || prompts.given
      from (select image.id, jsonb_strip_nulls(jsonb_build_object(
                     'enhanced_prompt', nullif(btrim(enhanced_prompts[image.number]), ''),
                     'pair_prompt', nullif(btrim(pair_prompts[image.number]), ''))) as given
              from image) as prompts
     where place.id = prompts.id and prompts.given <> '{}'
    returning place.id
  )
  select (select count(*) from image), (select count(*) from written) into images, updated;
  return jsonb_build_object(
    'success', true, 'shot_id', for_shot, 'updated_count', updated, 'skipped_count', images - updated,
    'failed_count', 0, 'image_count', images,
    'unused_count', (select count(*) from unnest(enhanced_prompts, pair_prompts) with ordinality as given (enhanced, pair, number)
                      where given.number > images and coalesce(nullif(btrim(enhanced), ''), nullif(btrim(pair), '')) is not null),
    'message', format('Updated %s of %s images', updated, images));
end
$$;
revoke all on function public.update_shot_pair_prompts from public, anon, authenticated;
grant execute on function public.update_shot_pair_prompts to service_role;
