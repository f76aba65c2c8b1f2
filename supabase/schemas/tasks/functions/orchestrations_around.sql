-- The orchestrations that a task is part of, outermost first, in the order in which they are locked.
create or replace function public.orchestrations_around(for_task uuid)
returns uuid[]
language plpgsql stable set search_path = '' as $$
begin
  return array(
    with recursive around (id, depth) as (
      select orchestrator_task_id, 1 from public.tasks where id = for_task
      union all
      select wider.orchestrator_task_id, depth + 1 from around join public.tasks as wider on wider.id = around.id
    )
    select id from around where id is not null order by depth desc);
end
$$;
revoke all on function public.orchestrations_around from public, anon, authenticated;
