-- The one reading of priced parameters: every quantity that a price depends on, from params as the client sent them. Quote,
-- hold, charge and receipt are computed from what this answers, and a claim gives it to the worker (params_of_run()).
-- Guarantee: what has no price is refused (422 `unpriced_value`), and so are parameters that contradict each other.
-- `images` is in every price by the unit: how many outputs are paid.
create or replace function public.read_billed_values(price public.task_type_prices, params jsonb)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  factors constant jsonb := price.cost_factors;
  -- Of a film whose frames decide how long it is.
  film constant text[] := case when price.cost_factors ? 'seconds' then public.film_quantities(price.task_type) else '{}' end;
  kind public.task_types;
  billed jsonb := '{}';
  quantity text;
  listed jsonb;
  said record;
  word text;
begin
  if price.billing_type <> 'per_unit' and factors = '{}' then
    return billed;
  end if;
  select * into kind from public.task_types where name = price.task_type;

  for quantity, listed in
    select case when key = 'resolution' and kind.category = 'upscale' then 'scale'
                when key = 'megapixels' then 'resolution' else key end,
           case when key in ('resolution', 'model', 'model_type') then value end
      from jsonb_each(factors)
     -- Of an upscale no parameter names a size.
     where (key <> 'megapixels' or not factors ? 'resolution' and kind.category <> 'upscale')
       and (key <> 'seconds' or film = '{}')
    union all
    select 'images', null where price.billing_type = 'per_unit' and not factors ? 'images'
    union all
    select part, null from unnest(film) as part where not factors ? part
    order by 1
  loop
    select * into said from public.priced_param(kind.name, quantity, params, listed);
    if said.value is null then
      -- What workers take where they are not told.
      said.value := case
        when quantity = 'images' then '1'
        when quantity = 'scale' then '2'
        when quantity = 'gap_frames' then '53'
        when quantity = 'context_frames' then '8'
        when quantity = 'frames' and quantity = any (film) then coalesce(public.planned_frames(kind.name, params), '61')
        when quantity = 'seconds' then to_jsonb(coalesce(
          public.planned_seconds(kind.name, params), greatest(floor((factors -> 'seconds' ->> 'included')::numeric), 1)))
        when kind.name = 'animate_character' and quantity = 'resolution' and listed ? '480p' then '"480p"' end;
    end if;
    if quantity = 'seconds' and kind.name = 'wan_2_2_i2v' then
      -- A second at least between each two pictures.
      said.value := to_jsonb(greatest((said.value #>> '{}')::numeric, public.passages_of_film(kind.name, params)));
    end if;
    if said.value is null and listed is not null and quantity <> 'model' and price.billing_type = 'per_unit' then
      -- The worker is then given it: the smallest of those that count once.
      select to_jsonb(key) into said.value from jsonb_each(listed)
       where value = '1' order by public.pixels_of_size(key), key limit 1;
    end if;
    word := (said.value #>> '{}') || case quantity when 'scale' then 'x' else '' end;
    if (case
         -- No model has the price of none, and what is paid by the second is as large as its inputs: the seconds tell.
         when said.value is null and (quantity = 'model' or price.billing_type = 'per_second') then false
         when listed is not null and public.listed_value(listed, word) is null then true
         when quantity = 'images' then not factors ? 'images' and said.value <> '1'
         when quantity = 'resolution' and factors ? 'megapixels'
           then said.value is not null and public.pixels_of_size(word) is null
         else false end) then
      perform public.refuse('unpriced_value', 422, jsonb_build_object(
        'task_type', kind.name,
        'parameter', coalesce(said.parameter, (public.priced_names(kind.name, quantity))[1]), 'value', word,
        'allowed', case
          when listed is not null then (select jsonb_agg(key order by key) from jsonb_object_keys(listed) as key)
          when quantity = 'images' then '["1"]'
          else public.quantity_forms(quantity) end));
    end if;
    if said.value is not null then
      billed := billed || jsonb_build_object(quantity, said.value);
    end if;
  end loop;

  if film <> '{}' then
    billed := billed || jsonb_build_object('seconds', public.seconds_of_frames(coalesce(
      (billed ->> 'gap_frames')::numeric + 2 * (billed ->> 'context_frames')::numeric, (billed ->> 'frames')::numeric)));
  end if;
  if factors ? 'megapixels' then
    billed := billed || jsonb_build_object('megapixels', case
      when billed ? 'resolution' then ceil(public.pixels_of_size(billed ->> 'resolution') / 1048576.0)
      -- The worker sees to it that the output is not larger.
      else greatest(floor((factors -> 'megapixels' ->> 'included')::numeric), 1) end);
  end if;
  return billed;
end
$$;
revoke all on function public.read_billed_values from public, anon, authenticated;
