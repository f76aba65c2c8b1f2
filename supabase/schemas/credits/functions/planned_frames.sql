-- The frames of a segment that says none itself: those that its travel plans for its place; null where it plans none.
create or replace function public.planned_frames(for_task_type text, params jsonb)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  planned constant jsonb := public.planned_list(for_task_type, params, 'segment_frames_expanded')
    -> greatest(coalesce(public.integer_or_null(params ->> 'segment_index'), 0), 0);
  read jsonb;
begin
  if coalesce(planned, 'null') in ('null', '""') then
    return null;
  end if;
  read := public.read_quantity('frames', planned, null);
  if read is null then
    perform public.refuse('unpriced_value', 422, jsonb_build_object(
      'task_type', for_task_type, 'parameter', 'segment_frames_expanded', 'value', left(planned #>> '{}', 200),
      'allowed', public.quantity_forms('frames')));
  end if;
  return read;
end
$$;
revoke all on function public.planned_frames from public, anon, authenticated;
