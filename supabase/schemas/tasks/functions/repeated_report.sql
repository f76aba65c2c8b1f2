-- The first answer to a report that ended a run of this locked task; null when it is no repeat. Without an attempt it cannot be
-- one while that worker runs the task: then it is about that run.
create or replace function public.repeated_report(
  task public.tasks, for_worker text, for_attempt integer, hash bytea
) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if for_attempt is null and task.status = 'In Progress' and task.worker_id = for_worker then
    return null;
  end if;
  return (select answer from public.run_reports
           where task_id = task.id and request_hash = hash and attempt = coalesce(for_attempt, attempt)
           order by attempt desc limit 1);
end
$$;
revoke all on function public.repeated_report from public, anon, authenticated;
