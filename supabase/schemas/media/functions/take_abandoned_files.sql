-- Looks at files of runs that were due for a look, at most so many, and marks those for deletion that no run can deliver any more.
-- Answers {paths, checked}: the paths of marked files, and how many were looked at. A marked file is never delivered, whatever
-- happens to its task. Its content is deleted by the caller, which then calls forget_abandoned_files(); if it does not, the file is
-- taken again after ten minutes. A file is needed while its run goes on, and what an orchestrator published while the
-- orchestrator is open, in whichever attempt. Several callers may run at once: each row is one caller's.
create or replace function public.take_abandoned_files(at_most integer default 500)
returns jsonb
language sql security definer set search_path = '' as $$
  with due as (
    select file.path from public.output_files as file
     where file.check_at <= now() order by file.check_at limit at_most for update skip locked
  ), looked_at as (
    update public.output_files as file
       set check_at = now() + interval '10 minutes',
           deleting_since = case
             when file.deleting_since is null
                  and exists (select from public.tasks as run
                               where run.id = file.task_id
                                 and (run.status = 'In Progress' and run.attempt = file.attempt
                                      or run.status in ('Queued', 'In Progress') and file.published_at is not null))
               then null
             else coalesce(file.deleting_since, now()) end
      from due
     where file.path = due.path
    returning file.path, file.deleting_since
  )
  select jsonb_build_object(
           'paths', coalesce(jsonb_agg(path order by path) filter (where deleting_since is not null), '[]'),
           'checked', count(*))
    from looked_at
$$;
revoke all on function public.take_abandoned_files from public, anon, authenticated;
grant execute on function public.take_abandoned_files to service_role;
