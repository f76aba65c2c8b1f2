-- Ends up to so many open parts of a task that has ended, and of the tasks that wait for it; each as end_task() does, with what
-- depends on it in turn. When the task was queued again meanwhile, they have no reason to end: there is nothing left to do.
create or replace function public.end_some_relatives(
  entry public.task_outbox, at_most integer, out did integer, out is_done boolean
)
language plpgsql set search_path = '' as $$
declare
  started constant timestamptz := clock_timestamp();
  subject_status public.task_status;
  next_id uuid;
  parts uuid[];
  waiting uuid[] := '{}';
begin
  did := 0;
  -- Locked, so that it is not queued again meanwhile.
  select status into subject_status from public.tasks where id = entry.subject_id for share skip locked;
  if not found then
    is_done := not exists (select from public.tasks where id = entry.subject_id);
    return;
  end if;
  if subject_status in ('Queued', 'In Progress') then
    is_done := true;
    return;
  end if;
  parts := array(
    select id from public.tasks
     where orchestrator_task_id = entry.subject_id and status in ('Queued', 'In Progress')
     order by created_at, id limit at_most);
  if subject_status <> 'Complete' then
    waiting := array(
      select task_id from public.task_dependencies
       where dependency_id = entry.subject_id and is_waiting and task_id <> all (parts)
       order by task_id limit at_most - cardinality(parts));
  end if;
  is_done := cardinality(parts) + cardinality(waiting) < at_most;
  foreach next_id in array parts || waiting loop
    if clock_timestamp() > started + interval '100 ms' then
      is_done := false;
      exit;
    end if;
    perform public.end_task(
      next_id, entry.new_status,
      case when next_id <> all (parts) then 'dependency_failed'
           when subject_status = 'Complete' then 'orchestrator_finished'
           else format('Cascaded %s from related task %s', lower(entry.new_status::text), entry.origin_id) end,
      by_owner => entry.by_owner, is_dependant => next_id <> all (parts));
    did := did + 1;
  end loop;
end
$$;
revoke all on function public.end_some_relatives from public, anon, authenticated;
