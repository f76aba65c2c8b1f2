-- The turn of a user has come: takes the best task that they have for this claim, by priority, then age, over all
-- their lanes that it may look at. An owner's worker prefers its loaded model. Of `late_types` (FAL's claims alone) it takes what
-- has been ready since `late_before`, or what FAL has begun.
create or replace function public.claim_of_user(
  served_user uuid, stage text, run_types text[], types text[], models text[], warm_model text,
  for_worker text, heartbeat_lease interval, affinity_max_wait interval,
  late_types text[], late_before timestamptz, skip_jobs_of text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  lane public.task_lanes;
  tried bigint[] := '{}';
  claimed jsonb;
begin
  loop
    select mine.* into lane
      from public.task_lanes as mine
      left join lateral (
        select priority, created_at, id, ready_at from public.tasks
         where lane_id = mine.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
         order by priority desc, created_at, id limit 1) as head on true
     where mine.user_id = served_user
       and case when stage = 'owner' then mine.is_ready else mine.is_open end
       and (mine.is_overdue or stage <> 'overdue')
       and mine.run_type = any (run_types) and (
         types is null or mine.task_type = any (types)
         or mine.task_type = any (late_types)
            and (head.ready_at <= late_before or exists (
                   select from public.provider_jobs as job where job.task_id = head.id and job.by_owner = (stage = 'owner'))))
       and (models is null or mine.model = any (models)) and mine.id <> all (tried)
     order by (stage = 'owner' and mine.model = warm_model) desc nulls last,
              head.priority desc nulls last, head.created_at, head.id
     limit 1;
    exit when not found;
    claimed := public.claim_from_lane(lane, for_worker, stage = 'owner', heartbeat_lease, affinity_max_wait,
                                      case when lane.task_type = any (late_types) then late_before end, skip_jobs_of);
    if claimed is not null then
      return claimed;
    end if;
    tried := tried || lane.id;
  end loop;
  return null;
end
$$;
revoke all on function public.claim_of_user from public, anon, authenticated;
