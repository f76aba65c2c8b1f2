-- One dependency fewer for everyone who waited for this task; whoever waits for nothing more is queued.
create or replace function public.release_dependants(finished_task uuid)
returns void
language plpgsql set search_path = '' as $$
declare
  dependant public.tasks;
begin
  for dependant in
    select task.* from public.tasks as task
     where task.id in (select task_id from public.task_dependencies where dependency_id = finished_task)
       and task.status = 'Queued'
     order by task.id for no key update
  loop
    update public.tasks set unmet_dependencies = unmet_dependencies - 1 where id = dependant.id;
    if dependant.unmet_dependencies = 1 and not dependant.is_scheduled then
      perform public.lock_tenant(dependant.user_id);
      perform public.ready_lane(dependant.lane_id, now());
    end if;
  end loop;
end
$$;
revoke all on function public.release_dependants from public, anon, authenticated;
