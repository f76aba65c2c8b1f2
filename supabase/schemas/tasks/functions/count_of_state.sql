-- The column of task_counts that a task belongs to; null when it has ended.
create or replace function public.count_of_state(
  status public.task_status, unmet_dependencies integer, is_scheduled boolean
) returns text
language plpgsql immutable set search_path = '' as $$
begin
  return case
    when status = 'In Progress' then 'running'
    when status <> 'Queued' then null
    when unmet_dependencies > 0 then 'blocked'
    when is_scheduled then 'scheduled'
    else 'ready' end;
end
$$;
revoke all on function public.count_of_state from public, anon, authenticated;
