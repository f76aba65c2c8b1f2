-- The next step of end_task(): what ends because these tasks have ended. All orchestrators that they are part of; of their open
-- parts and the tasks that wait for them as many as `room` has, and the rest is noted in task_outbox. Where something is
-- left, the family's parts that run end as well, of which a user has at most five, and queued ones that a provider may be running:
-- so nothing is delivered or used for an orchestration whose cost is settled. Parts that are left are not claimed, and dependants that are left wait: neither can run.
create or replace function public.next_to_end(
  ended public.tasks[], new_status public.task_status, by_owner boolean, origin uuid, room integer,
  out relatives uuid[], out dependants uuid[], out room_left integer
)
language plpgsql set search_path = '' as $$
declare
  task public.tasks;
  parts uuid[];
  waiting uuid[];
begin
  relatives := array(
    select distinct orchestrator_task_id from unnest(ended) where orchestrator_task_id is not null);
  dependants := '{}';
  room_left := room;
  foreach task in array ended loop
    parts := array(
      select id from public.tasks
       where orchestrator_task_id = task.id and status in ('Queued', 'In Progress') and id <> all (relatives)
       order by created_at, id limit room_left + 1);
    waiting := array(
      select task_id from public.task_dependencies
       where dependency_id = task.id and is_waiting and task_id <> all (relatives || parts || dependants)
       order by task_id limit room_left + 1);
    if cardinality(parts) + cardinality(waiting) > room_left then
      insert into public.task_outbox (kind, subject_id, user_id, new_status, by_owner, origin_id)
      values ('end_relatives', task.id, task.user_id, new_status, next_to_end.by_owner, origin);
      parts := parts[1:room_left];
      waiting := waiting[1:room_left - cardinality(parts)];
      relatives := relatives || array(
        select part.id from public.tasks as part
         where part.orchestrator_task_id = task.id and part.status = 'Queued' and part.id <> all (parts)
           and exists (select from public.provider_jobs as job where job.task_id = part.id) limit 100);
    end if;
    relatives := relatives || parts;
    dependants := dependants || waiting;
    room_left := room_left - cardinality(parts) - cardinality(waiting);
  end loop;
  if room_left = 0 then
    relatives := relatives || public.running_parts_of_ended(ended[1].user_id);
  end if;
end
$$;
revoke all on function public.next_to_end from public, anon, authenticated;
