-- Makes the generation or variant of a task that ends with the output of an earlier run; answers its row with what is known then.
create or replace function public.with_reused_output(task public.tasks)
returns public.tasks
language plpgsql set search_path = '' as $$
declare
  made constant public.made_output := public.create_output(
    public.with_warnings(task), coalesce(task.result_data ->> 'public_url', task.output_location), task.thumbnail_url);
begin
  task.generation_created := made.generation_id is not null;
  task.result_data := jsonb_strip_nulls(jsonb_build_object(
    'generation_id', made.generation_id, 'variant_id', made.variant_id, 'public_url', task.result_data -> 'public_url',
    'warnings', nullif(made.warnings, '[]')));
  return task;
end
$$;
revoke all on function public.with_reused_output from public, anon, authenticated;
