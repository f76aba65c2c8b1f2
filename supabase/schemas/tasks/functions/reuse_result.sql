-- A task as it is when it ends with the output of an earlier run, of which its own generation or variant is made here; the
-- row is not written yet. It costs the reuse price of its quote, never more than its run might have; nothing where
-- the owner's own machine made the output.
create or replace function public.reuse_result(task public.tasks, result public.tasks)
returns public.tasks
language plpgsql set search_path = '' as $$
declare
  kept constant jsonb := result.result_data;
  made public.made_output;
begin
  -- The thumbnail is a file of its own, which may be gone.
  if exists (select from storage.objects
              where bucket_id = 'image_uploads' and name = kept ->> 'thumbnail_path') then
    task.thumbnail_url := result.thumbnail_url;
  end if;
  task.output_location := result.output_location;
  made := public.create_output(task, coalesce(kept ->> 'public_url', result.output_location), task.thumbnail_url);

  task.status := 'Complete';
  task.is_following := false;
  task.unmet_dependencies := 0;
  -- The key is that of the run, which others find by it.
  task.result_key := null;
  task.reused_task_id := result.id;
  task.claimed_by_owner := result.claimed_by_owner;
  task.progress := 1;
  task.generation_processed_at := clock_timestamp();
  task.updated_at := now();
  task.generation_created := made.generation_id is not null;
  task.result_data := jsonb_strip_nulls(jsonb_build_object(
    'generation_id', made.generation_id, 'variant_id', made.variant_id, 'public_url', kept -> 'public_url',
    'warnings', nullif(made.warnings, '[]')));
  task.cost_microusd := case when result.claimed_by_owner then 0 else (
    select least(price.reuse_price_microusd, task.upper_bound_microusd)
      from public.task_type_prices as price where price.id = task.price_id) end;
  return task;
end
$$;
revoke all on function public.reuse_result from public, anon, authenticated;
