-- What a task depends on, in the order in which its client named them, with outputs of those that are complete.
-- The first one's output is also given by itself, once all are complete; until then `status` is that of the
-- first which is not.
create or replace function public.get_predecessor_output(for_user uuid, for_task uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  task constant public.all_tasks := public.find_task(for_user, for_task);
  predecessors jsonb;
  open_status text;
begin
  select jsonb_agg(jsonb_build_object(
           'predecessor_id', named.id, 'status', coalesce(dependency.status::text, 'not_found'),
           'output_location', case when dependency.status = 'Complete' then dependency.output_location end)
           order by named.position),
         (array_agg(coalesce(dependency.status::text, 'not_found') order by named.position)
           filter (where dependency.status is distinct from 'Complete'))[1]
    into predecessors, open_status
    from unnest(task.dependant_on) with ordinality as named (id, position)
    left join lateral (
      select status, output_location from public.all_tasks
       where id = named.id and project_id = task.project_id limit 1) as dependency on true;
  return jsonb_build_object(
    'predecessor_id', predecessors -> 0 -> 'predecessor_id',
    'output_location', case when open_status is null then predecessors -> 0 -> 'output_location' end,
    'status', coalesce(open_status, case when predecessors is not null then 'Complete' end),
    'all_complete', open_status is null,
    'predecessors', coalesce(predecessors, '[]'));
end
$$;
revoke all on function public.get_predecessor_output from public, anon, authenticated;
grant execute on function public.get_predecessor_output to service_role;
