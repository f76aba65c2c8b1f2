-- Params as a worker gets them: as the client sent them, and each parameter that says a priced quantity says what is billed.
-- One image is what every worker makes of params that do not say how many, so these stay as they are.
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
begin
  for quantity, paid in select key, value from jsonb_each(billed) where key <> 'megapixels' loop
    names := public.priced_names(for_task_type, quantity);
    continue when quantity = 'images' and paid = '1' and not params ?| names and not exists (
      select from unnest(public.priced_places(for_task_type)) as object
       where jsonb_typeof(params -> object) = 'object' and params -> object ?| names);
    foreach name in array names loop
      given := case when quantity = 'scale' and name = 'resolution' then to_jsonb((paid #>> '{}') || 'x') else paid end;
      -- A scale is a resolution only where somebody said so.
      if quantity <> 'scale' or name <> 'resolution' or told ? name then
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
