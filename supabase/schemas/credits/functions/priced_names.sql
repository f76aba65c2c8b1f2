-- The parameters under which workers of a task type read a priced quantity. Within one object of params all that are given
-- must agree; docs/credits.md lists them.
create or replace function public.priced_names(for_task_type text, quantity text)
returns text[]
language plpgsql stable set search_path = '' as $$
declare
  medium constant text := (select content_type from public.task_types where name = for_task_type);
begin
  return case quantity
    -- Only pictures are made several at a time.
    when 'images' then case when medium = 'image' then array['num_images', 'num_generations'] else '{}' end
    when 'frames' then array['num_frames', 'segment_frames_target', 'frame_count', 'video_length']
    when 'gap_frames' then array['gap_frame_count']
    when 'context_frames' then array['context_frame_count']
    -- Where the frames of a film decide, nothing else says how long it is.
    when 'seconds' then case when public.film_quantities(for_task_type) = '{}' then array['seconds', 'duration'] else '{}' end
    when 'scale' then array['scale_factor', 'upscale_factor', 'scale', 'resolution']
    when 'resolution' then case
      when for_task_type = 'animate_character' then array['resolution']
      when medium = 'image' then array['resolution', 'image_size']
      else array['resolution', 'parsed_resolution_wh'] end
    when 'model' then array['model_name', 'model']
                      -- Older clients of pictures name the model there.
                      || case when for_task_type = 'single_image' then array['model_type'] else '{}' end
    when 'model_type' then array['model_type'] end;
end
$$;
revoke all on function public.priced_names from public, anon, authenticated;
