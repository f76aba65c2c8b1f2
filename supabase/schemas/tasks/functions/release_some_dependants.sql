-- One dependency fewer for up to so many tasks that wait for this one; those that wait for nothing more are ready. Answers how many.
create or replace function public.release_some_dependants(finished_task uuid, at_most integer)
returns integer
language plpgsql set search_path = '' as $$
declare
  next_ids constant uuid[] := array(
    select task_id from public.task_dependencies
     where dependency_id = finished_task and is_waiting order by task_id limit at_most);
  owner_id uuid;
  lane bigint;
begin
  if cardinality(next_ids) = 0 then
    return 0;
  end if;
  perform from public.tasks where id = any (next_ids) order by id for no key update;
  with released as (
    update public.task_dependencies set is_waiting = false
     where dependency_id = finished_task and task_id = any (next_ids) and is_waiting
    returning task_id
  )
  update public.tasks set unmet_dependencies = unmet_dependencies - 1, ready_at = now()
   where id in (select task_id from released) and status = 'Queued';
  -- In a project, so of one user.
  select user_id into owner_id from public.tasks
   where id = any (next_ids) and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled limit 1;
  if found then
    perform public.lock_tenant(owner_id);
    for lane in
      select distinct lane_id from public.tasks
       where id = any (next_ids) and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
    loop
      perform public.ready_lane(lane, now());
    end loop;
  end if;
  return cardinality(next_ids);
end
$$;
revoke all on function public.release_some_dependants from public, anon, authenticated;
