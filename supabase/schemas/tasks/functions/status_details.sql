-- What a 409 about a task tells.
create or replace function public.status_details(task public.tasks)
returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return jsonb_build_object(
    'task_id', task.id, 'current_status', task.status, 'attempt', task.attempt,
    'allowed_transitions', to_jsonb(case task.status
      when 'Queued' then array['Failed', 'Cancelled']
      when 'In Progress' then array['In Progress', 'Queued', 'Complete', 'Failed', 'Cancelled']
      when 'Failed' then array['Queued']
      else array[]::text[] end));
end
$$;
revoke all on function public.status_details from public, anon, authenticated;
