-- What params say of a priced quantity, and the parameter that says it: from the first of priced_places() that says anything.
-- Null, '' and the size "auto" say nothing. A value that cannot be read, and parameters of one object that contradict each other, are refused.
create or replace function public.priced_param(
  for_task_type text, quantity text, params jsonb, listed jsonb, out parameter text, out value jsonb
)
language plpgsql stable set search_path = '' as $$
declare
  names constant text[] := public.priced_names(for_task_type, quantity);
  place text;
  container jsonb;
  name text;
  read jsonb;
begin
  foreach place in array public.priced_places(for_task_type) loop
    container := case place when '' then params else params -> place end;
    continue when jsonb_typeof(container) <> 'object' or container is null or not container ?| names;
    foreach name in array names loop
      continue when coalesce(container -> name, 'null') in ('null', '""');
      -- Names of models that are not text have never been any.
      continue when quantity = 'model' and jsonb_typeof(container -> name) <> 'string';
      read := public.read_quantity(quantity, container -> name, listed);
      if read is null then
        perform public.refuse('unpriced_value', 422, jsonb_build_object(
          'task_type', for_task_type, 'parameter', concat_ws('.', nullif(place, ''), name),
          'value', left(container ->> name, 200),
          'allowed', coalesce((select jsonb_agg(key order by key) from jsonb_object_keys(listed) as key),
                              public.quantity_forms(quantity))));
      end if;
      -- It says nothing of a size, wherever it stands.
      continue when read = '"auto"' and quantity = 'resolution';
      if value is null then
        value := read;
        parameter := concat_ws('.', nullif(place, ''), name);
      elsif value <> read and quantity <> 'model' then
        perform public.refuse('contradicting_values', 422, jsonb_build_object(
          'task_type', for_task_type, 'parameters', array[parameter, concat_ws('.', nullif(place, ''), name)],
          'values', array[value, read]));
      end if;
    end loop;
    exit when value is not null;
  end loop;
end
$$;
revoke all on function public.priced_param from public, anon, authenticated;
