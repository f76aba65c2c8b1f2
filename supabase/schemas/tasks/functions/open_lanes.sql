-- Brings `is_open` of a user's ready lanes in line with the user's choice and free slots.
-- The caller holds the tenant's lock.
create or replace function public.open_lanes(for_user uuid)
returns void
language sql set search_path = '' as $$
  with wanted as (
    select lane.id,
           lane.in_cloud and tenant.allows_cloud
           and (lane.is_orchestrator
                or exists (select from public.task_slots where user_id = for_user and task_id is null)) as open
      from public.task_lanes as lane
      join public.task_tenants as tenant on tenant.user_id = lane.user_id
     where lane.user_id = for_user and lane.is_ready
  )
  update public.task_lanes as lane set is_open = wanted.open
    from wanted where lane.id = wanted.id and lane.is_open <> wanted.open
$$;
revoke all on function public.open_lanes from public, anon, authenticated;
