-- A task of the user whose turn it is. A user whom another claim is serving is left to the end, so that claims at the
-- same moment serve different users; then they are tried too, for they may have more slots.
create or replace function public.claim_by_turn(
  run_types text[], types text[], models text[], for_worker text, worker_heartbeats boolean,
  settings public.queue_settings
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  tried uuid[] := '{}';
  all_busy uuid[] := '{}';
  next_turn record;
  busy_user uuid;
  claimed jsonb;
begin
  for page in 1 .. 1024 loop
    select * into next_turn from public.take_turn(run_types, types, models, tried);
    all_busy := all_busy || next_turn.busy;
    if (next_turn.taken).user_id is null then
      exit when next_turn.busy is null or types is not null or models is not null;
      tried := tried || next_turn.busy;
      continue;
    end if;
    claimed := public.claim_of_user((next_turn.taken).user_id, 'turn', run_types, types, models, null, for_worker,
                                    worker_heartbeats, settings);
    if claimed is not null then
      -- Now and then is enough.
      if (next_turn.taken).turn % 16 = 0 then
        perform public.move_turn_mark((next_turn.taken).run_type, null, (next_turn.taken).turn);
      end if;
      return claimed;
    end if;
    perform public.close_turn_if_idle((next_turn.taken).user_id, (next_turn.taken).run_type);
    tried := tried || (next_turn.taken).user_id || next_turn.busy;
  end loop;
  foreach busy_user in array all_busy loop
    claimed := public.claim_of_user(busy_user, 'turn', run_types, types, models, null, for_worker,
                                    worker_heartbeats, settings);
    if claimed is not null then
      return claimed;
    end if;
  end loop;
  return null;
end
$$;
revoke all on function public.claim_by_turn from public, anon, authenticated;
