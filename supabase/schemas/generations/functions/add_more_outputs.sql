-- What a task made beside its first output: further variants of the same generation, none of them shown by itself. Answers
-- [{output_location, variant_id}]; where the first made no generation, the files alone.
-- `outputs`: [{location, facts}] in their order.
create or replace function public.add_more_outputs(task public.tasks, made public.made_output, outputs jsonb)
returns jsonb
language plpgsql set search_path = '' as $$
declare
  variant public.generation_variants;
  output record;
  variant_id uuid;
  added jsonb := '[]';
begin
  select * into variant from public.generation_variants where id = made.variant_id;
  for output in
    select value as file, ordinality as index from jsonb_array_elements(outputs) with ordinality
  loop
    variant_id := null;
    if variant.id is not null then
      insert into public.generation_variants
        (generation_id, project_id, source_task_id, output_index, location, params, variant_type)
      values (variant.generation_id, variant.project_id, task.id, output.index, output.file ->> 'location',
              variant.params || coalesce(output.file -> 'facts', '{}'),
              variant.variant_type)
      returning id into variant_id;
    end if;
    added := added || jsonb_build_object('output_location', output.file -> 'location', 'variant_id', variant_id);
  end loop;
  return added;
end
$$;
revoke all on function public.add_more_outputs from public, anon, authenticated;
