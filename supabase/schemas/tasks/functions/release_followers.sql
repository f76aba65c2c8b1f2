-- What becomes of those who follow a run that is over. When it left a result, they are noted for settle_followers(), which
-- gives it to them; else the first of them is an ordinary task from now on, and the others follow that one. One
-- that somebody holds is passed over; when all are held, they are noted as well. Answers whether one was let go.
create or replace function public.release_followers(for_project uuid, for_key bytea, for_user uuid)
returns boolean
language plpgsql set search_path = '' as $$
declare
  next_task public.tasks;
  lane bigint;
begin
  -- From here on nobody begins to follow before this commits.
  perform public.lock_tenant(for_user);
  if not exists (select from public.tasks
                  where project_id = for_project and result_key = for_key and status = 'Queued' and is_following)
     or public.run_is_under_way(for_project, for_key) then
    return false;
  end if;
  if (public.find_result(for_project, for_key)).id is null then
    select * into next_task from public.tasks
     where project_id = for_project and result_key = for_key and status = 'Queued' and is_following
     order by priority desc, created_at, id limit 1 for no key update skip locked;
  end if;
  if next_task.id is null then
    insert into public.results_to_share (project_id, result_key, user_id) values (for_project, for_key, for_user)
    on conflict do nothing;
    return false;
  end if;
  lane := public.lane_of_task(next_task);
  update public.tasks
     set is_following = false, unmet_dependencies = 0, lane_id = lane, updated_at = now(), ready_at = now()
   where id = next_task.id;
  perform public.ready_lane(lane, now());
  return true;
end
$$;
revoke all on function public.release_followers from public, anon, authenticated;
