-- Ends a running orchestration when all that it planned is done: nothing of it is open, and either its worker has said
-- (by text of progress) that it has created everything, or as many parts as were asked for are done and no final
-- stitch is to come. Otherwise keeps it waiting. The caller holds the orchestrator's lock, so one caller closes it.
-- A part that failed fails it, with the price of the others; see end_task() for parts that fail while it runs.
create or replace function public.close_orchestrator(for_orchestrator uuid)
returns void
language plpgsql set search_path = '' as $$
declare
  orchestrator public.tasks;
  part_type text;
  parts record;
  result record;
  failed public.tasks;
  made public.made_output;
begin
  select * into orchestrator from public.tasks where id = for_orchestrator and status = 'In Progress' for no key update;
  if not found then
    return;
  end if;
  part_type := case when orchestrator.task_type = 'travel_orchestrator' then 'travel_segment' else 'join_clips_segment' end;
  select count(*) filter (where status in ('Queued', 'In Progress')) as open,
         count(*) filter (where status in ('Failed', 'Cancelled')) as failed,
         count(*) as total, min(generation_started_at) as started_at,
         count(*) filter (where task_type = part_type and status = 'Complete') as complete,
         bool_or(task_type in ('travel_stitch', 'join_final_stitch', 'join_clips_orchestrator')) as has_stitch
    into parts
    from public.tasks where orchestrator_task_id = orchestrator.id;
  if parts.open > 0 or parts.total = 0
     or orchestrator.output_location is null and orchestrator.progress_message is null
        and (coalesce(parts.complete + parts.failed < public.expected_parts(orchestrator), true)
             or public.plans_stitch(orchestrator) and not parts.has_stitch) then
    perform public.extend_lease(orchestrator);
    return;
  end if;
  if parts.failed > 0 then
    -- The first that failed by itself, and not because another did.
    select * into failed from public.tasks
     where orchestrator_task_id = orchestrator.id and status in ('Failed', 'Cancelled')
     order by coalesce(error_message like 'Cascaded %' or error_message = 'dependency_failed', true), updated_at, id limit 1;
    update public.tasks set result_data = result_data || jsonb_build_object('failed_part', public.failed_part(failed))
     where id = orchestrator.id;
    perform public.end_task(
      orchestrator.id, 'Failed',
      format('%s of %s segments failed', parts.failed, parts.total) || coalesce(': ' || left(failed.error_message, 500), ''),
      by_owner => false);
    return;
  end if;

  -- The whole; else its last part, unless each stands for itself. A part's text may have been replaced since.
  select coalesce(result_data ->> 'public_url', output_location) as output_location, thumbnail_url into result
    from public.tasks
   where orchestrator_task_id = orchestrator.id
     and coalesce(result_data ->> 'public_url', output_location) ~* '^https?://'
     and (task_type in ('travel_stitch', 'join_final_stitch', 'join_clips_orchestrator')
          or task_type = part_type and not (part_type = 'travel_segment' and public.parts_are_independent(orchestrator)))
   order by array_position(array['join_final_stitch', 'join_clips_orchestrator', 'travel_stitch'], task_type) nulls last,
            coalesce(public.integer_or_null(params ->> 'segment_index'), public.integer_or_null(params ->> 'join_index')) desc,
            generation_processed_at desc
   limit 1;
  update public.tasks
     set generation_started_at = coalesce(parts.started_at, generation_started_at), output_location = null
   where id = orchestrator.id
  returning * into orchestrator;
  made := public.create_output(orchestrator, result.output_location, result.thumbnail_url);
  perform public.finish_task(orchestrator, result.output_location, result.thumbnail_url,
                             made.generation_id, made.variant_id);
end
$$;
revoke all on function public.close_orchestrator from public, anon, authenticated;
