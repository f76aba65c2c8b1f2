-- Complete: the row, the slot, the charge, the dependants. The caller holds the running task's lock.
create or replace function public.finish_task(
  task public.tasks, new_output text, new_thumbnail text, new_generation uuid, new_variant uuid
) returns public.tasks
language plpgsql set search_path = '' as $$
declare
  finished public.tasks;
  -- One moment for the row and for its price, so that the one can be computed from the other.
  ended_at constant timestamptz := clock_timestamp();
begin
  update public.tasks
     set status = 'Complete', output_location = new_output, thumbnail_url = new_thumbnail,
         generation_processed_at = ended_at, updated_at = now(),
         progress = 1, progress_message = null, slot = null, project_slot = null, task_type_slot = null,
         lease_expires_at = null,
         warnings = task.warnings,
         generation_created = task.generation_created or new_generation is not null,
         cost_microusd = public.cost_of_run(task, new_output is not null, ended_at),
         result_data = jsonb_strip_nulls(jsonb_build_object(
           'generation_id', new_generation, 'variant_id', new_variant, 'images', task.result_data -> 'images'))
   where id = task.id
  returning * into finished;
  if task.is_orchestrator then
    perform public.keep_published_files(task.id);
    perform public.end_leftover_parts(finished);
    -- Counted again: a child may have finished while we waited for it.
    update public.tasks set cost_microusd = public.cost_of_run(task, true) where id = task.id
    returning * into finished;
  end if;
  perform public.note_run_time(finished);
  perform public.free_slots(array[task]);
  perform public.cover_cost(finished);
  if task.orchestrator_task_id is null then
    perform public.settle_hold(task.id);
  end if;
  perform public.release_dependants(task.id);
  if task.orchestrator_task_id is not null then
    perform public.close_orchestrator(task.orchestrator_task_id);
  end if;
  perform public.count_unpaid_cost(array[task.id]);
  return finished;
end
$$;
revoke all on function public.finish_task from public, anon, authenticated;
