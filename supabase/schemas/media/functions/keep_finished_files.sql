-- Refuses a file in the folder of a task that is finished, because its output was delivered and paid; whoever
-- writes it, and however long ago the URL for it was signed. It holds for the transaction that writes the file's
-- row: the task cannot finish before it, for its row is locked against change. Deleting is not refused.
-- A file whose deletion has begun is refused too. One whose path was not issued is noted, so that it is deleted if no run delivers it.
create or replace function public.keep_finished_files()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  segments constant text[] := string_to_array(new.name, '/');
  found_status public.task_status;
  found_attempt integer;
begin
  if new.bucket_id <> 'image_uploads'
     or segments[2] is distinct from 'tasks'
     or segments[3] is null
     or segments[3] !~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then
    return new;
  end if;
  select task.status, task.attempt into found_status, found_attempt
    from public.tasks as task where task.id = segments[3]::uuid for share;
  if found_status not in ('Queued', 'In Progress')
     or (found_status is null
         and exists (select from public.archived_tasks as task where task.id = segments[3]::uuid)) then
    -- The code that Supabase's storage answers with a 403.
    raise exception using
      errcode = 'insufficient_privilege', constraint = 'keep_finished_files',
      message = 'The task of this file is finished; its files stay as they are.';
  end if;
  if exists (select from public.output_files where path = new.name and deleting_since is not null) then
    raise exception using
      errcode = 'insufficient_privilege', constraint = 'keep_finished_files',
      message = 'The run of this file has ended; the file is being deleted.';
  end if;
  insert into public.output_files (path, task_id, attempt)
  values (new.name, segments[3]::uuid, coalesce(found_attempt, 0)) on conflict (path) do nothing;
  return new;
end
$$;
revoke all on function public.keep_finished_files from public, anon, authenticated;
