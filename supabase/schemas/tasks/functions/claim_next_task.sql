-- Moves one task to a worker and answers it; null when there is none.
-- Guarantees: a task goes to one worker and no user has more running tasks than slots, for task and slot are
-- locked as they are chosen; whatever another claim has locked is skipped, so no claim waits for another.
-- Order: the worker's loaded model first, until a task of another has waited `affinity_max_wait`; then the
-- user served longest ago; within a user by priority, then age.
-- `for_user` limits it to that owner's tasks (a token), which then need no cover.
create or replace function public.claim_next_task(
  for_user uuid default null, for_worker text default null, for_run_type text default null,
  only_task_types text[] default null, only_models text[] default null, same_model_only boolean default false,
  debug boolean default false
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  worker constant public.workers := public.register_worker(for_worker, for_user);
  warm_model constant text := case when worker.status in ('active', 'inactive') then worker.current_model end;
  types text[];
  lane record;
  tried bigint[] := '{}';
  claimed jsonb;
begin
  select array_agg(name) into types from public.task_types
   where alias_of is null and (for_run_type is null or run_type = for_run_type)
     and (only_task_types is null or name = any (only_task_types)
          or exists (select from public.task_types as alias
                      where alias.alias_of = task_types.name and alias.name = any (only_task_types)));

  for page in 1 .. 8 loop
    for lane in
      select * from public.lanes_to_try(
        for_user, types, only_models, warm_model, same_model_only, tried, 16)
    loop
      claimed := public.claim_from_lane(lane.lane_id, for_worker, for_user is not null,
                                        coalesce(worker.heartbeats, false));
      if claimed is not null then
        return claimed;
      end if;
      tried := tried || lane.lane_id;
    end loop;
    exit when not found;
  end loop;

  if exists (select from public.tasks where status = 'In Progress' and lease_expires_at < now())
     and public.sweep_expired_leases(16) > 0 then
    return public.claim_next_task(for_user, for_worker, for_run_type, only_task_types, only_models,
                                  same_model_only, debug);
  end if;
  if debug then
    return jsonb_build_object('debug', public.explain_empty_claim(for_user, types));
  end if;
  return null;
end
$$;
revoke all on function public.claim_next_task from public, anon, authenticated;
grant execute on function public.claim_next_task to service_role;
