-- Params as a worker gets them: as the client sent them, and each parameter that says a priced quantity says what is billed.
-- Parameters that were not sent are added, but where workers make the same without them: one image, twice the size, five seconds,
-- a join's usual frames, and a size that `resolution` says already.
create or replace function public.params_of_run(for_task_type text, params jsonb, billed jsonb)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  told jsonb := params;
  quantity text;
  paid jsonb;
  names text[];
  name text;
  place text;
  given jsonb;
  is_told boolean;
begin
  for quantity, paid in select key, value from jsonb_each(billed) where key <> 'megapixels' loop
    names := public.priced_names(for_task_type, quantity);
    is_told := case quantity
      when 'images' then paid = '1'
      when 'scale' then paid = '2'
      when 'seconds' then paid = '5'
      when 'gap_frames' then paid = '53'
      when 'context_frames' then paid = '8'
      when 'resolution' then names @> '{image_size}' and coalesce(params -> 'resolution' = paid, false)
      else false end;
    foreach name in array names loop
      given := case
        when quantity = 'scale' and name = 'resolution' then to_jsonb((paid #>> '{}') || 'x')
        -- Workers of joins read a list of two numbers.
        when for_task_type in ('join_clips_segment', 'join_final_stitch', 'edit_video_segment') and name = 'resolution'
             and paid #>> '{}' ~ '^[0-9]+x[0-9]+$'
          then to_jsonb(string_to_array(paid #>> '{}', 'x')::integer[])
        else paid end;
      -- A scale is a resolution only where somebody said so.
      if told ? name or not is_told and (quantity <> 'scale' or name <> 'resolution') then
        told := told || jsonb_build_object(name, given);
      end if;
      foreach place in array public.priced_places(for_task_type) loop
        if jsonb_typeof(told -> place) = 'object' and told -> place ? name then
          told := jsonb_set(told, array[place, name], given);
        end if;
      end loop;
    end loop;
  end loop;
  return told;
end
$$;
revoke all on function public.params_of_run from public, anon, authenticated;
