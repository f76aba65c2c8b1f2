-- Whether a task and all its children can go to the archive: ended and left alone since then, with no credits
-- held, and no open task depends on one of them. Its cost keeps the planner from asking it of more rows than the
-- batch has.
create or replace function public.family_may_leave(root uuid, finished_before timestamptz)
returns boolean
language plpgsql stable set search_path = '' cost 10000 as $$
begin
  return (
    select bool_and(
      task.status in ('Complete', 'Failed', 'Cancelled') and task.updated_at < finished_before
      and not exists (select from public.credit_holds as hold
                       where hold.task_id = task.id and hold.state = 'held')
      and not exists (select from public.task_dependencies as needed
                        join public.tasks as dependant on dependant.id = needed.task_id
                       where needed.dependency_id = task.id and dependant.status in ('Queued', 'In Progress')))
      from public.family_of_task(root) as member
      join public.tasks as task on task.id = member);
end
$$;
revoke all on function public.family_may_leave from public, anon, authenticated;
