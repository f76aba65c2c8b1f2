-- The next user whose turn it is, locked: see claim_by_turn; and those before them whom another claim is serving.
create or replace function public.take_turn(
  run_types text[], types text[], models text[], tried uuid[], late_types text[],
  out taken public.user_turns, out busy uuid[]
)
language plpgsql set search_path = '' as $$
declare
  candidate public.user_turns;
  passed integer := 0;
  busy_before integer := -1;
begin
  busy := '{}';
  -- In pages, for all of one may be busy.
  while taken.user_id is null and passed < 8 and cardinality(busy) > busy_before loop
    busy_before := cardinality(busy);
    for candidate in
      select next_turn.*
        from unnest(run_types) as kind (name),
             lateral (select * from public.user_turns as mine
                       where mine.is_open and mine.run_type = kind.name
                         and mine.turn >= public.turn_mark(kind.name, null)
                         and mine.user_id <> all (tried) and mine.user_id <> all (busy)
                       order by mine.turn limit 32) as next_turn
       order by next_turn.turn
    loop
      if (types is not null or models is not null) and not exists (
           select from public.task_lanes as lane
            where lane.user_id = candidate.user_id and lane.is_open and lane.run_type = candidate.run_type
              and (types is null or lane.task_type = any (types) or lane.is_late and lane.task_type = any (late_types))
              and (models is null or lane.model = any (models))) then
        passed := passed + 1;
        exit when passed = 8;
        continue;
      end if;
      -- Not when they were served in the meantime, or are being served.
      select * into taken from public.user_turns
       where user_id = candidate.user_id and run_type = candidate.run_type and turn = candidate.turn and is_open
       for no key update skip locked;
      exit when found;
      busy := busy || candidate.user_id;
    end loop;
  end loop;
end
$$;
revoke all on function public.take_turn from public, anon, authenticated;
