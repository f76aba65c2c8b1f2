-- Puts a user who was served behind all others, in every ready lane, and notes how long the served lane's next
-- task has waited. A lane that another claim is updating is left to that claim.
create or replace function public.pass_turn(served public.task_lanes, affinity_max_wait interval)
returns void
language plpgsql set search_path = '' as $$
declare
  next_turn constant bigint := nextval('public.task_turns');
begin
  update public.task_lanes as lane
     set turn = next_turn,
         oldest_ready_at = case when lane.id = served.id then coalesce(next_task.since, lane.oldest_ready_at)
                                else lane.oldest_ready_at end,
         is_overdue = case when lane.id = served.id then coalesce(next_task.since < now() - affinity_max_wait, false)
                           else lane.is_overdue end
    from (select id from public.task_lanes where user_id = served.user_id and is_ready
           order by id for no key update skip locked) as mine
    left join (select lane_id, greatest(created_at, run_after) as since from public.tasks
                where lane_id = served.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
                order by priority desc, created_at, id limit 1) as next_task on next_task.lane_id = mine.id
   where lane.id = mine.id;
end
$$;
revoke all on function public.pass_turn from public, anon, authenticated;
