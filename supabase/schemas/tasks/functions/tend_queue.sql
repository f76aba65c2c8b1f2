-- What the queue needs now and then, wherever it is run from and however often: scheduled tasks whose time has
-- come, runs whose lease is over, lanes that have become overdue or late, what own workers can run, and the marks of turns.
create or replace function public.tend_queue(at_most integer default 200)
returns void
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  settings public.queue_settings;
  own_types text[];
  mark record;
begin
  perform public.release_scheduled_tasks(at_most);
  perform public.sweep_expired_leases(at_most);

  -- One at a time for the rest; whoever comes second has nothing to add.
  select * into settings from public.queue_settings for no key update skip locked;
  if not found then
    return;
  end if;
  own_types := case when settings.fal_is_configured then public.own_worker_types() else '{}' end;
  update public.queue_settings set tended_at = now(), own_worker_types = own_types;
  perform public.announce_task_types(array(select unnest(settings.own_worker_types) except select unnest(own_types)));
  -- Claims do not note how long the next task of a lane has waited; it is looked up when it may be too long.
  update public.task_lanes as lane
     set is_overdue = coalesce(head.since < now() - settings.affinity_max_wait, false),
         oldest_ready_at = coalesce(head.since, now())
    from (select id from public.task_lanes
           where is_open and not is_overdue and oldest_ready_at < now() - settings.affinity_max_wait
           order by oldest_ready_at limit 10000 for no key update skip locked) as candidate
    left join lateral (
      select greatest(created_at, run_after) as since from public.tasks
       where lane_id = candidate.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
       order by priority desc, created_at, tasks.id limit 1) as head on true
   where lane.id = candidate.id;
  if settings.fal_is_configured then
    update public.task_lanes as lane
       set is_late = coalesce(head.ready_at <= now() - settings.fal_after, false), waits_since = coalesce(head.ready_at, now())
      from (select id from public.task_lanes
             where is_open and not is_late and waits_since <= now() - settings.fal_after
             order by waits_since limit 10000 for no key update skip locked) as candidate
      left join lateral (
        select ready_at from public.tasks
         where lane_id = candidate.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
         order by priority desc, created_at, tasks.id limit 1) as head on true
     where lane.id = candidate.id;
  end if;
  for mark in
    select kind, model, max(turn) as newest from public.turn_marks group by kind, model
  loop
    delete from public.turn_marks
     where kind = mark.kind and model is not distinct from mark.model
       and (turn < mark.newest and created_at < now() - interval '1 minute' or created_at < now() - interval '1 day');
    -- A lane that opened while the mark was moved may be behind it.
    update public.task_lanes set turn = mark.newest
     where id in (select id from public.task_lanes
                   where is_open and (mark.kind = task_type and mark.model is null
                                      or mark.kind in (run_type, task_type) and model = mark.model)
                     and turn < mark.newest
                   for no key update skip locked);
    update public.user_turns set turn = mark.newest
     where (user_id, run_type) in (
       select user_id, run_type from public.user_turns
        where is_open and run_type = mark.kind and mark.model is null and turn < mark.newest
          for no key update skip locked);
  end loop;
end
$$;
revoke all on function public.tend_queue from public, anon, authenticated;
grant execute on function public.tend_queue to service_role;
