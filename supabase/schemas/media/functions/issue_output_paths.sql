-- The paths of files that a run is about to write, in the order of their names, which are clean and may be in the folder `thumbnails/`.
-- Each path has 128 random bits of its own: who knows one file of a run cannot name another. The service and the run's worker,
-- which are answered with it, are the only ones that learn it before the file is delivered. A public bucket of Supabase gives a
-- file to everybody who can name it, so the secret is the lock there.
-- `for_upload`: upload URLs are signed for them. Those last two hours, and an upload takes its time.
create or replace function public.issue_output_paths(task public.tasks, file_names text[], for_upload boolean)
returns text[]
language plpgsql set search_path = '' as $$
declare
  paths text[];
begin
  select array_agg(
           format('%s/tasks/%s/%s%s-%s-%s', task.user_id, task.id, left(name, -length(last_part)), task.attempt,
                  -- Two, for a UUID has 122 random bits.
                  left(encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex'), 32),
                  last_part)
           order by position)
    into paths
    from (select name, position, substring(name from '[^/]*$') as last_part
            from unnest(file_names) with ordinality as named (name, position)) as file;
  insert into public.output_files (path, task_id, attempt, upload_until)
  select unnest(paths), task.id, task.attempt, case when for_upload then now() + interval '3 hours' end;
  return coalesce(paths, '{}');
end
$$;
revoke all on function public.issue_output_paths from public, anon, authenticated;
