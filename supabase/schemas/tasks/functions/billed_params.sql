-- The params by which a finished task is priced: its own, but for how many images it asked for where it made fewer.
create or replace function public.billed_params(params jsonb, result_data jsonb)
returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return case when result_data ? 'images'
    then params || jsonb_build_object('num_images', result_data -> 'images') else params end;
end
$$;
revoke all on function public.billed_params from public, anon, authenticated;
