-- A priced quantity as it was sent, in its one form: a number, "WIDTHxHEIGHT", "720p", a name. Null where the value cannot be
-- read. `listed` are the values that a price has.
-- Numbers are JSON numbers, or texts of digits with at most ten decimals; neither sign nor exponent.
create or replace function public.read_quantity(quantity text, sent jsonb, listed jsonb)
returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  kind constant text := jsonb_typeof(sent);
  word text := sent #>> '{}';
  sides text[];
  number numeric;
begin
  if kind = 'string' and length(word) > 200 then
    return null;
  end if;
  if quantity in ('model', 'model_type') then
    word := trim(word);
    return case
      when kind <> 'string' or word = '' then null
      when listed ? word then to_jsonb(word)
      else coalesce((select to_jsonb(key) from jsonb_object_keys(listed) as key
                      where public.spelling_of_model(key) = public.spelling_of_model(word) order by key limit 1),
                    to_jsonb(word)) end;
  end if;

  if quantity = 'resolution' then
    -- A number without the decimals that say nothing.
    word := case kind
      when 'string' then lower(trim(word))
      when 'number' then trim_scale(word::numeric)::text
      when 'array' then case when jsonb_array_length(sent) = 2
        then public.side_of_size(sent -> 0) || 'x' || public.side_of_size(sent -> 1) end
      when 'object' then public.side_of_size(sent -> 'width') || 'x' || public.side_of_size(sent -> 'height') end;
    sides := regexp_match(word, '^0*([1-9][0-9]{0,4})\s*[x×*]\s*0*([1-9][0-9]{0,4})$');
    return case
      when sides is not null then
        case when greatest(sides[1]::integer, sides[2]::integer) <= 16384 then to_jsonb(sides[1] || 'x' || sides[2]) end
      when word ~ '^[1-9][0-9]{2,3}p?$' then to_jsonb(rtrim(word, 'p') || 'p')
      when word = 'auto' or public.pixels_of_size(word) > 0 then to_jsonb(word)
      when kind = 'string' and listed ? (sent #>> '{}') then sent end;
  end if;

  if quantity = 'scale' and kind = 'string' and word ~ '^[0-9.]+[xX]$' then
    word := left(word, -1);
  end if;
  if kind <> 'number' and (kind <> 'string' or word !~ '^[0-9]{1,9}(\.[0-9]{1,10})?$') then
    return null;
  end if;
  number := word::numeric;
  if quantity = 'seconds' then
    number := ceil(number);
  end if;
  return case when case quantity
      when 'images' then number between 1 and 16 and number = trunc(number)
      when 'frames' then number between 1 and 100000 and number = trunc(number)
      when 'gap_frames' then number between 0 and 1000 and number = trunc(number)
      when 'context_frames' then number between 0 and 1000 and number = trunc(number)
      when 'seconds' then number between 1 and 3600
      when 'scale' then number between 1 and 100 end
    then to_jsonb(trim_scale(number)) end;
end
$$;
revoke all on function public.read_quantity from public, anon, authenticated;
