-- Brings lanes that a claim met up to their users' turns; answers how many were behind. A lane that somebody else is
-- writing is left as it is.
create or replace function public.lift_lanes(met bigint[])
returns integer
language plpgsql set search_path = '' as $$
declare
  lifted integer;
begin
  update public.task_lanes as lane set turn = behind.user_turn
    from (select mine.id, served.turn as user_turn
            from public.task_lanes as mine
            join public.user_turns as served on served.user_id = mine.user_id and served.run_type = mine.run_type
           where mine.id = any (met) and mine.turn < served.turn
           order by mine.id for no key update of mine skip locked) as behind
   where lane.id = behind.id;
  get diagnostics lifted = row_count;
  return lifted;
end
$$;
revoke all on function public.lift_lanes from public, anon, authenticated;
