-- A list in params, from the first of priced_places() that has one of this name; null where none has.
create or replace function public.planned_list(for_task_type text, params jsonb, list_name text)
returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return (
    select list from unnest(public.priced_places(for_task_type)) with ordinality as looked (place, position),
           lateral (select case place when '' then params -> list_name else params -> place -> list_name end) as found (list)
     where case when jsonb_typeof(list) = 'array' then jsonb_array_length(list) > 0 end
     order by position limit 1);
end
$$;
revoke all on function public.planned_list from public, anon, authenticated;
