-- Whether a file may be written there: false for the folder of a task that is finished, because its output
-- was delivered and paid. Asked in the transaction that writes the file's row, it holds for that transaction:
-- the task cannot finish before it, for its row is locked against change.
create or replace function public.media_path_is_open(path text)
returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  segments text[] := string_to_array(path, '/');
  found_status public.task_status;
begin
  if segments[2] is distinct from 'tasks'
     or segments[3] is null
     or segments[3] !~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then
    return true;
  end if;
  select task.status into found_status from public.tasks as task where task.id = segments[3]::uuid for share;
  if found_status is null then
    return not exists (select from public.archived_tasks as task where task.id = segments[3]::uuid);
  end if;
  return found_status in ('Queued', 'In Progress');
end
$$;
revoke all on function public.media_path_is_open from public, anon, authenticated;
grant execute on function public.media_path_is_open to service_role;
