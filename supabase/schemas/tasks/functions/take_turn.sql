-- The user whose turn it is, locked: whoever was served longest ago of those who have an open lane for this claim and
-- whom no other claim is serving (these are `busy`) or who were `tried`. Null when there is none; where the claim
-- asks for task types or models, also when the next eight users have none of them.
create or replace function public.take_turn(
  run_types text[], types text[], models text[], tried uuid[], out taken public.user_turns, out busy uuid[]
)
language plpgsql set search_path = '' as $$
declare
  candidate public.user_turns;
  passed integer := 0;
begin
  -- What nearly every claim asks for, in one probe of one index.
  if cardinality(run_types) = 1 and types is null and models is null and tried = '{}' then
    select * into taken from public.user_turns
     where is_open and run_type = run_types[1] and turn >= public.turn_mark(run_types[1], null)
     order by turn limit 1 for no key update skip locked;
    if found then
      return;
    end if;
  end if;
  for candidate in
    select next_turn.*
      from unnest(run_types) as kind (name),
           lateral (select * from public.user_turns as mine
                     where mine.is_open and mine.run_type = kind.name
                       and mine.turn >= public.turn_mark(kind.name, null) and mine.user_id <> all (tried)
                     order by mine.turn limit 32) as next_turn
     order by next_turn.turn
  loop
    if (types is not null or models is not null) and not exists (
         select from public.task_lanes as lane
          where lane.user_id = candidate.user_id and lane.is_open and lane.run_type = candidate.run_type
            and (types is null or lane.task_type = any (types)) and (models is null or lane.model = any (models))) then
      passed := passed + 1;
      exit when passed = 8;
      continue;
    end if;
    -- Served in the meantime, or being served.
    select * into taken from public.user_turns
     where user_id = candidate.user_id and run_type = candidate.run_type and turn = candidate.turn and is_open
     for no key update skip locked;
    if found then
      return;
    end if;
    busy := busy || candidate.user_id;
  end loop;
end
$$;
revoke all on function public.take_turn from public, anon, authenticated;
