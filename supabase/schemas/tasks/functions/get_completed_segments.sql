-- The outputs of a run's finished segments, by their index: of the project that is named, else of all that
-- are the caller's. Run ids are chosen by clients, so two projects may have the same.
create or replace function public.get_completed_segments(for_user uuid, for_run text, for_project uuid default null)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  if for_project is not null then
    perform public.find_project(for_user, for_project);
  end if;
  return (
    select coalesce(jsonb_agg(jsonb_build_object(
             'segment_index', segment_index, 'output_location', output_location)
             order by segment_index, created_at, id), '[]')
      from (
        select (task.params ->> 'segment_index')::integer as segment_index, task.output_location,
               task.created_at, task.id
          from public.all_tasks as task
         where task.task_type = 'travel_segment' and task.status = 'Complete'
           and task.params ->> 'orchestrator_run_id' = for_run
           and (for_project is null or task.project_id = for_project)
           and (for_user is null or task.user_id = for_user)
           and task.params ->> 'segment_index' ~ '^\d{1,9}$'
           and task.output_location <> ''
         order by 1 limit 10000) as segment);
end
$$;
revoke all on function public.get_completed_segments from public, anon, authenticated;
grant execute on function public.get_completed_segments to service_role;
