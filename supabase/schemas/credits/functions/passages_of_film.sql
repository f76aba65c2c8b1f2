-- Between how many pairs of pictures a film goes: one where params name fewer than three.
create or replace function public.passages_of_film(for_task_type text, params jsonb)
returns integer
language plpgsql immutable set search_path = '' as $$
begin
  return greatest(coalesce(jsonb_array_length(public.planned_list(for_task_type, params, 'input_image_paths_resolved')) - 1, 1), 1);
end
$$;
revoke all on function public.passages_of_film from public, anon, authenticated;
