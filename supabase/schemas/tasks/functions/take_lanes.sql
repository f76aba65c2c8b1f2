-- Keeps other claims from a user whose turn this claim has taken: they pass over locked lanes, to the next user.
create or replace function public.take_lanes(of_user uuid)
returns void
language plpgsql set search_path = '' as $$
begin
  perform from public.task_lanes where user_id = of_user and is_ready order by id for no key update skip locked;
end
$$;
revoke all on function public.take_lanes from public, anon, authenticated;
