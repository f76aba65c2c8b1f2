-- A page of an orchestrator's children, oldest first, after the `next_cursor` of the page before. It ends
-- early where its params pass 64 MB.
create or replace function public.get_orchestrator_children(
  for_user uuid, for_orchestrator uuid, page_limit integer default 1000, after_cursor text default null
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  orchestrator constant public.all_tasks := public.find_task(for_user, for_orchestrator);
  after_time constant timestamptz := coalesce(public.time_of_cursor(after_cursor), '-infinity');
  after_id constant uuid := coalesce(split_part(after_cursor, '.', 2), '00000000-0000-0000-0000-000000000000');
begin
  return (
    with child as (
      select task.* from public.all_tasks as task
       where task.orchestrator_task_id = orchestrator.id and (task.created_at, task.id) > (after_time, after_id)
       order by task.created_at, task.id limit page_limit + 1
    ), measured as (
      select child.*, row_number() over by_age as place, lead(child.id) over by_age is not null as has_next,
             sum(octet_length(child.params::text)) over by_age as bytes
        from child window by_age as (order by child.created_at, child.id)
    ), shown as (
      select * from measured where place <= page_limit and (bytes <= 67108864 or place = 1)
    )
    select jsonb_build_object(
             'tasks', coalesce(jsonb_agg(jsonb_build_object(
                'id', id, 'task_type', task_type, 'status', status, 'params', public.params_of_run(task_type, params, billed),
                'output_location', output_location, 'dependant_on', dependant_on, 'error_message', error_message,
                'created_at', created_at) order by place), '[]'),
             'limit', page_limit,
             'next_cursor', (select case when has_next then public.task_cursor(created_at, id) end
                               from shown order by place desc limit 1))
      from shown);
end
$$;
revoke all on function public.get_orchestrator_children from public, anon, authenticated;
grant execute on function public.get_orchestrator_children to service_role;
