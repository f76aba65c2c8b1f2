-- `params` are those that its workers get.
create or replace function public.get_task_output(for_user uuid, for_task uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  task constant public.all_tasks := public.find_task(for_user, for_task);
begin
  return jsonb_build_object(
    'task_id', task.id, 'project_id', task.project_id, 'status', task.status,
    'output_location', task.output_location, 'warnings', task.warnings,
    'params', public.params_of_run(task.task_type, task.params, task.billed), 'dependant_on', task.dependant_on);
end
$$;
revoke all on function public.get_task_output from public, anon, authenticated;
grant execute on function public.get_task_output to service_role;
