-- Puts a user who was served behind all others, in every open lane, and notes how long the served lane's next
-- task has waited. A lane that another claim is updating is left to that claim.
create or replace function public.pass_turn(for_user uuid, served_lane bigint)
returns void
language sql set search_path = '' as $$
  with turn as (select nextval('public.task_turns') as number),
  lanes as (
    select id from public.task_lanes
     where user_id = for_user and is_ready order by id for no key update skip locked
  ),
  next_task as (
    select created_at from public.tasks
     where lane_id = served_lane and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
     order by priority desc, created_at, id limit 1
  )
  update public.task_lanes as lane
     set turn = turn.number,
         oldest_ready_at = case when lane.id = served_lane
           then coalesce((select created_at from next_task), lane.oldest_ready_at) else lane.oldest_ready_at end
    from turn, lanes where lane.id = lanes.id
$$;
revoke all on function public.pass_turn from public, anon, authenticated;
