-- What a change of status brings with it that was written over REST: see plan_direct_change().
create or replace function public.follow_direct_change()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if new.status = old.status then
    return null;
  end if;
  if new.status = 'Queued' then
    perform public.free_slots(array[old]);
    perform public.ready_lane(new.lane_id, greatest(new.created_at, new.run_after));
    perform public.let_provider_resume(new.id, new.lane_id);
  else
    perform public.end_task(
      new.id, new.status, new.error_message, old, by_owner => auth.uid() is not null or new.status = 'Cancelled');
  end if;
  return null;
end
$$;
revoke all on function public.follow_direct_change from public, anon, authenticated;
