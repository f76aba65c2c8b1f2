-- Puts a user with an open lane among those whose turn comes: not before where claims begin, and not before their own
-- last turn, so that nobody gets ahead by coming back. The caller holds the tenant's lock.
create or replace function public.open_turn(for_user uuid, of_run_type text)
returns void
language plpgsql set search_path = '' as $$
declare
  first_turn bigint;
begin
  -- Only who holds the tenant's lock closes it.
  if exists (select from public.user_turns where user_id = for_user and run_type = of_run_type and is_open) then
    return;
  end if;
  first_turn := greatest(public.newest_turn_mark(of_run_type, null),
                         (select max(turn) from public.user_turns where user_id = for_user));
  insert into public.user_turns as mine (user_id, run_type, turn) values (for_user, of_run_type, first_turn)
  on conflict (user_id, run_type) do update set is_open = true, turn = greatest(mine.turn, first_turn);
end
$$;
revoke all on function public.open_turn from public, anon, authenticated;
