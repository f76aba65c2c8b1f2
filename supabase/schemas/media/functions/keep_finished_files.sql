-- Refuses a file in the folder of a task that is finished, because its output was delivered and paid; whoever
-- writes it, and however long ago the URL for it was signed. It holds for the transaction that writes the file's
-- row: the task cannot finish before it, for its row is locked against change. Deleting is not refused.
create or replace function public.keep_finished_files()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  segments constant text[] := string_to_array(new.name, '/');
  found_status public.task_status;
begin
  if new.bucket_id <> 'image_uploads'
     or segments[2] is distinct from 'tasks'
     or segments[3] is null
     or segments[3] !~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then
    return new;
  end if;
  select task.status into found_status from public.tasks as task where task.id = segments[3]::uuid for share;
  if found_status not in ('Queued', 'In Progress')
     or (found_status is null
         and exists (select from public.archived_tasks as task where task.id = segments[3]::uuid)) then
    -- The code that Supabase's storage answers with a 403.
    raise exception using
      errcode = 'insufficient_privilege', constraint = 'keep_finished_files',
      message = 'The task of this file is finished; its files stay as they are.';
  end if;
  return new;
end
$$;
revoke all on function public.keep_finished_files from public, anon, authenticated;
