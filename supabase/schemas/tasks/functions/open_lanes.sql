-- Brings `is_open` of a user's ready lanes in line with the user's choice and free slots.
-- The caller holds the tenant's lock.
create or replace function public.open_lanes(for_user uuid)
returns void
language plpgsql set search_path = '' as $$
begin
  update public.task_lanes as lane
     set is_open = not lane.is_open, turn = public.turn_floor(lane)
    from public.task_tenants as tenant,
         lateral (select exists (select from public.task_slots
                                  where user_id = for_user and task_id is null) as has_slot) as own
   where lane.user_id = for_user and lane.is_ready and tenant.user_id = for_user
     and lane.is_open <> (
       lane.in_cloud and tenant.allows_cloud
       and (lane.is_orchestrator
            or own.has_slot
               and (lane.project_id is null
                    or exists (select from public.project_slots
                                where project_id = lane.project_id and task_id is null))));
  if found then
    perform public.open_turn(for_user, run_type)
       from (select distinct run_type from public.task_lanes where user_id = for_user and is_open) as open_lane;
  end if;
end
$$;
revoke all on function public.open_lanes from public, anon, authenticated;
