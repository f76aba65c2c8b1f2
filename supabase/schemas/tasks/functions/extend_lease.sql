-- A call about a running task by its worker keeps the task with it.
create or replace function public.extend_lease(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
begin
  update public.tasks
     set lease_expires_at = now() + public.lease_duration(task.task_type, coalesce(
           (select heartbeats from public.workers where id = public.worker_row_id(task.worker_id, case when task.claimed_by_owner then task.user_id end)), false))
   where id = task.id and status = 'In Progress';
end
$$;
revoke all on function public.extend_lease from public, anon, authenticated;
