-- What a finished task is charged by: its billed values, but for how many images it made where it made fewer.
create or replace function public.billed_of_run(billed jsonb, result_data jsonb)
returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return case when result_data ? 'images'
    then billed || jsonb_build_object('images', result_data -> 'images') else billed end;
end
$$;
revoke all on function public.billed_of_run from public, anon, authenticated;
