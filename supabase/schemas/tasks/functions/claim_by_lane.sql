-- A task of the kinds that a claim asks for, when the users whose turn is next have none: looks where such tasks are,
-- in the order of their users' turns. Of users whom other claims are serving: see claim_by_turn.
-- A lane keeps the turn at which it was last looked at; those met are brought up to date, so that the order is right.
create or replace function public.claim_by_lane(
  stage text, run_types text[], types text[], models text[], for_worker text, heartbeat_lease interval,
  affinity_max_wait interval, late_types text[], late_before timestamptz, skip_jobs_of text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  -- By run type there are fewer places to look than by task type. Who is overdue is listed by task type alone.
  by_run_type constant boolean := types is null and stage <> 'overdue';
  kinds constant text[] := case when by_run_type then run_types
                                else coalesce(types, public.claimable_task_types(run_types, null)) end;
  met public.task_lanes[];
  lane public.task_lanes;
  tried bigint[] := '{}';
  failed_users uuid[] := '{}';
  busy_users uuid[] := '{}';
  busy_user uuid;
  claimed jsonb;
  page_size integer := 4;
  -- Enough to be exact but where nearly all turns are taken elsewhere; then a claim is rather quick.
  lifts_left integer := 32;
  lifted integer;
begin
  for page in 1 .. 64 loop
    loop
      met := array(select next_lane from public.lanes_to_try(stage, kinds, models, tried, page_size, late_types) as next_lane);
      exit when cardinality(met) = 0 or lifts_left <= 0;
      lifted := public.lift_lanes(array(select id from unnest(met)));
      exit when lifted = 0;
      lifts_left := lifts_left - lifted;
    end loop;
    exit when cardinality(met) = 0;
    foreach lane in array met loop
      tried := tried || lane.id;
      continue when lane.user_id = any (failed_users) or lane.user_id = any (busy_users);
      perform from public.user_turns
        where user_id = lane.user_id and run_type = lane.run_type for no key update skip locked;
      if not found then
        busy_users := busy_users || lane.user_id;
        continue;
      end if;
      claimed := public.claim_of_user(lane.user_id, stage, run_types, types, models, null, for_worker,
                                      heartbeat_lease, affinity_max_wait, late_types, late_before, skip_jobs_of);
      if claimed is not null then
        if lane.turn % 16 = 0 and stage <> 'overdue' and lane.task_type = any (late_types) is not true then
          perform public.move_turn_mark(case when by_run_type then lane.run_type else lane.task_type end,
                                        case when models is not null then lane.model end, lane.turn);
        end if;
        return claimed;
      end if;
      failed_users := failed_users || lane.user_id;
    end loop;
    page_size := 64;
  end loop;
  foreach busy_user in array busy_users loop
    claimed := public.claim_of_user(busy_user, stage, run_types, types, models, null, for_worker,
                                    heartbeat_lease, affinity_max_wait, late_types, late_before, skip_jobs_of);
    if claimed is not null then
      return claimed;
    end if;
  end loop;
  return null;
end
$$;
revoke all on function public.claim_by_lane from public, anon, authenticated;
