-- A task of the user whose turn it is: of those who have an open lane for this claim, whoever was served longest ago. A
-- user whom another claim is serving is left to the end, so that claims at the same moment serve different users;
-- then they are tried too, for they may have more slots. Null also when the claim asks for task types or models of
-- which the next eight users have none.
create or replace function public.claim_by_turn(
  run_types text[], types text[], models text[], for_worker text, heartbeat_lease interval,
  affinity_max_wait interval, late_types text[], late_before timestamptz, skip_jobs_of text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  taken public.user_turns;
  found_turn record;
  busy uuid[] := '{}';
  tried uuid[] := '{}';
  busy_user uuid;
  claimed jsonb;
begin
  for attempt in 1 .. 1024 loop
    taken := null;
    -- What nearly every claim asks for, in one probe of one index.
    if types is null and models is null and cardinality(run_types) = 1 and tried = '{}' then
      select * into taken from public.user_turns
       where is_open and run_type = run_types[1]
         and turn >= coalesce((select turn from public.turn_marks
                                where kind = run_types[1] and model is null and created_at < now() - interval '1 second'
                                order by turn desc limit 1), 0)
       order by turn limit 1 for no key update skip locked;
    end if;
    if taken.user_id is null then
      select * into found_turn from public.take_turn(run_types, types, models, tried || busy, late_types);
      taken := found_turn.taken;
      busy := busy || found_turn.busy;
    end if;
    exit when taken.user_id is null;
    claimed := public.claim_of_user(taken.user_id, 'turn', run_types, types, models, null, for_worker,
                                    heartbeat_lease, affinity_max_wait, late_types, late_before, skip_jobs_of);
    if claimed is not null then
      -- Now and then is enough.
      if taken.turn % 16 = 0 then
        perform public.move_turn_mark(taken.run_type, null, taken.turn);
      end if;
      return claimed;
    end if;
    perform public.close_turn_if_idle(taken.user_id, taken.run_type);
    tried := tried || taken.user_id;
  end loop;
  foreach busy_user in array busy loop
    claimed := public.claim_of_user(busy_user, 'turn', run_types, types, models, null, for_worker,
                                    heartbeat_lease, affinity_max_wait, late_types, late_before, skip_jobs_of);
    if claimed is not null then
      return claimed;
    end if;
  end loop;
  return null;
end
$$;
revoke all on function public.claim_by_turn from public, anon, authenticated;
