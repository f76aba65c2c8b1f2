-- Moves a task from the count of its old state to that of its new one. Takes any of the lane's rows that nobody is
-- writing, and makes a new one rather than wait.
create or replace function public.count_task()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  was text;
  is_now text;
begin
  if tg_op <> 'INSERT' then
    was := case
      when old.status = 'In Progress' then 'running' when old.status <> 'Queued' then 'ended'
      when old.unmet_dependencies > 0 then 'blocked' when old.is_scheduled then 'scheduled' else 'ready' end;
  end if;
  if tg_op <> 'DELETE' then
    is_now := case
      when new.status = 'In Progress' then 'running' when new.status <> 'Queued' then 'ended'
      when new.unmet_dependencies > 0 then 'blocked' when new.is_scheduled then 'scheduled' else 'ready' end;
  end if;
  if (coalesce(was, 'ended') = 'ended') <> (coalesce(is_now, 'ended') = 'ended') then
    perform public.add_to_limit_count('open_tasks', coalesce(new.user_id, old.user_id),
                                      case when coalesce(is_now, 'ended') = 'ended' then -1 else 1 end);
  end if;
  if tg_op = 'INSERT' and new.is_orchestrator then
    -- Children that outlived a deleted orchestrator with the same id are not this one's.
    delete from public.limit_counts where subject = 'children' and subject_id = new.id;
  end if;
  if tg_op = 'INSERT' and new.orchestrator_task_id is not null then
    perform public.add_to_limit_count('children', new.orchestrator_task_id, 1);
  elsif tg_op = 'DELETE' and old.orchestrator_task_id is not null then
    perform public.add_to_limit_count('children', old.orchestrator_task_id, -1);
  end if;
  if tg_op = 'UPDATE' and old.lane_id <> new.lane_id then
    perform public.add_to_count(old.lane_id, was, -1);
    perform public.add_to_count(new.lane_id, is_now, 1);
  elsif was is null then
    perform public.add_to_count(new.lane_id, is_now, 1);
  elsif is_now is null then
    perform public.add_to_count(old.lane_id, was, -1);
  elsif was <> is_now then
    update public.task_counts
       set ready = ready + case when is_now = 'ready' then 1 when was = 'ready' then -1 else 0 end,
           blocked = blocked + case when is_now = 'blocked' then 1 when was = 'blocked' then -1 else 0 end,
           scheduled = scheduled + case when is_now = 'scheduled' then 1 when was = 'scheduled' then -1 else 0 end,
           running = running + case when is_now = 'running' then 1 when was = 'running' then -1 else 0 end
     where id = (select id from public.task_counts where lane_id = new.lane_id limit 1 for no key update skip locked);
    if not found then
      perform public.add_to_count(new.lane_id, was, -1);
      perform public.add_to_count(new.lane_id, is_now, 1);
    end if;
  end if;
  return null;
end
$$;
revoke all on function public.count_task from public, anon, authenticated;
