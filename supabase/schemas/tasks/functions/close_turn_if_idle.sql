-- A claim found nothing of a user whose turn had come: they have none until a lane of theirs opens, unless one has.
-- Whoever is adding work or freeing a slot holds the tenant's lock; then it is left as it is.
create or replace function public.close_turn_if_idle(for_user uuid, of_run_type text)
returns void
language plpgsql set search_path = '' as $$
begin
  perform from public.task_tenants where user_id = for_user for no key update skip locked;
  if not found then
    return;
  end if;
  update public.user_turns set is_open = false
   where user_id = for_user and run_type = of_run_type and is_open
     and not exists (select from public.task_lanes
                      where user_id = for_user and run_type = of_run_type and is_open);
end
$$;
revoke all on function public.close_turn_if_idle from public, anon, authenticated;
