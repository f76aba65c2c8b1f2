-- What an answer's `warnings` say of an id in params that is no row of the task's project.
create or replace function public.unknown_id(field text)
returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return jsonb_build_array(jsonb_build_object(
    'field', field, 'message', 'There is no such row in this project; it was ignored.'));
end
$$;
revoke all on function public.unknown_id from public, anon, authenticated;
