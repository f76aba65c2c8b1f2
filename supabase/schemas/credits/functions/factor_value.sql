-- What params say of a factor of prices, under the names that the shipped clients use; null where nothing.
-- Numbers are whole and at most 100,000.
create or replace function public.factor_value(factor text, params jsonb)
returns text
language plpgsql immutable set search_path = '' as $$
declare
  value text := case factor
    when 'resolution' then coalesce(params ->> 'resolution', params ->> 'parsed_resolution_wh',
                                    params ->> 'scale_factor' || 'x')
    when 'model' then public.model_of_params(params)
    when 'frames' then coalesce(params ->> 'num_frames', params ->> 'segment_frames_target', params ->> 'frame_count',
                                params ->> 'video_length')
    when 'images' then coalesce(params ->> 'num_images', params ->> 'num_generations')
    else params ->> factor end;
begin
  if factor in ('frames', 'images') then
    return case when value ~ '^\d{1,9}(\.\d{1,9})?$' then least(ceil(value::numeric), 100000)::text end;
  end if;
  return left(value, 200);
end
$$;
revoke all on function public.factor_value from public, anon, authenticated;
