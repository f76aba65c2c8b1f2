-- A page of a project's tasks as whole rows, newest first, after the `next_cursor` of the page before. It ends
-- early where its params pass 16 MB. A null filter lets everything pass.
-- Each arm reads an index in order and stops: those of the archive serve only who asks for what has ended.
create or replace function public.tasks_list(
  for_user uuid, for_project uuid, statuses public.task_status[] default null, types text[] default null,
  for_orchestrator uuid default null, page_limit integer default 1000, after_cursor text default null
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  project constant public.projects := public.find_project(for_user, for_project);
  before_time constant timestamptz := coalesce(public.time_of_cursor(after_cursor), 'infinity');
  before_id constant uuid := coalesce(split_part(after_cursor, '.', 2), 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  found_ids uuid[];
begin
  if for_orchestrator is not null then
    select array_agg(id) into found_ids from (
      select id from public.all_tasks
       where orchestrator_task_id = for_orchestrator and project_id = project.id
         and (statuses is null or status = any (statuses)) and (types is null or task_type = any (types))
         and (created_at, id) < (before_time, before_id)
       order by created_at desc, id desc limit page_limit + 1) as task;
  elsif statuses is null then
    select array_agg(id) into found_ids from (
      select id from public.all_tasks
       where project_id = project.id and (types is null or task_type = any (types))
         and (created_at, id) < (before_time, before_id)
       order by created_at desc, id desc limit page_limit + 1) as task;
  else
    select array_agg(id) into found_ids from (
      select task.id, task.created_at
        from (select distinct unnest(statuses) as status) as wanted
        cross join lateral (
          select id, created_at from public.tasks
           where project_id = project.id and status = wanted.status
             and (types is null or task_type = any (types)) and (created_at, id) < (before_time, before_id)
           order by created_at desc, id desc limit page_limit + 1) as task
      union all
      select task.id, task.created_at
        from (select distinct unnest(statuses) as status) as wanted
        cross join lateral (
          select id, created_at from public.archived_tasks
           where project_id = project.id and status = wanted.status
             and (types is null or task_type = any (types)) and (created_at, id) < (before_time, before_id)
           order by created_at desc, id desc limit page_limit + 1) as task
      order by created_at desc, id desc limit page_limit + 1) as task;
  end if;

  return (
    with task as (
      select * from public.all_tasks where id = any (found_ids)
    ), measured as (
      select to_jsonb(task) as task_row, task.created_at, task.id, row_number() over by_age as place,
             lead(task.id) over by_age is not null as has_next,
             sum(octet_length(task.params::text)) over by_age as bytes
        from task window by_age as (order by task.created_at desc, task.id desc)
    ), shown as (
      select * from measured where place <= page_limit and (bytes <= 16777216 or place = 1)
    )
    select jsonb_build_object(
             'tasks', coalesce(jsonb_agg(task_row order by place), '[]'),
             'limit', page_limit,
             'next_cursor', (select case when has_next then public.task_cursor(created_at, id) end
                               from shown order by place desc limit 1))
      from shown);
end
$$;
revoke all on function public.tasks_list from public, anon, authenticated;
grant execute on function public.tasks_list to service_role;
