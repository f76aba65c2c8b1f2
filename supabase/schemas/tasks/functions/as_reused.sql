-- The row of a task that ends with the output of an earlier run, without the generation or variant: nothing is written. It costs
-- the reuse price of its quote, never more than its run might have; nothing where the owner's own machine made the output.
create or replace function public.as_reused(task public.tasks, result public.tasks)
returns public.tasks
language plpgsql stable set search_path = '' as $$
declare
  kept constant jsonb := result.result_data;
begin
  -- The thumbnail is a file of its own, which may be gone.
  if exists (select from storage.objects
              where bucket_id = 'image_uploads' and name = kept ->> 'thumbnail_path') then
    task.thumbnail_url := result.thumbnail_url;
  end if;
  task.output_location := result.output_location;
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
  task.warnings := result.warnings;
  task.result_data := jsonb_strip_nulls(jsonb_build_object('public_url', kept -> 'public_url'));
  task.cost_microusd := case when result.claimed_by_owner then 0 else (
    select least(price.reuse_price_microusd, task.upper_bound_microusd)
      from public.task_type_prices as price where price.id = task.price_id) end;
  return task;
end
$$;
revoke all on function public.as_reused from public, anon, authenticated;
