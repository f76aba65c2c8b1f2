-- Whether the cloud may take a task of this lane, if there is one: the user wants it, and has a free slot, and so
-- has the project where it is limited. The caller holds the tenant's lock, or looks again under it.
create or replace function public.lane_may_open(lane public.task_lanes)
returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return lane.in_cloud
    and (select allows_cloud from public.task_tenants where user_id = lane.user_id)
    and (lane.is_orchestrator
         or exists (select from public.task_slots where user_id = lane.user_id and task_id is null)
            and (lane.project_id is null
                 or exists (select from public.project_slots
                             where project_id = lane.project_id and task_id is null)));
end
$$;
revoke all on function public.lane_may_open from public, anon, authenticated;
