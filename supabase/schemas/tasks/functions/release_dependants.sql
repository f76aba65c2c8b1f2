-- Releases the tasks that wait for this one, which is complete: at most so many at once, `direct_cascade` by default; task_outbox
-- has the rest, which wait until they are released. Answers how many it released.
create or replace function public.release_dependants(finished_task uuid, at_most integer default null)
returns integer
language plpgsql set search_path = '' as $$
declare
  room constant integer := coalesce(at_most, (select direct_cascade from public.queue_settings));
  released constant integer := public.release_some_dependants(finished_task, room);
begin
  if released = room
     and exists (select from public.task_dependencies where dependency_id = finished_task and is_waiting) then
    insert into public.task_outbox (kind, subject_id, user_id)
    select 'release_dependants', id, user_id from public.tasks where id = finished_task;
  end if;
  return released;
end
$$;
revoke all on function public.release_dependants from public, anon, authenticated;
