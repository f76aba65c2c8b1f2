-- Every change that can make a lane ready or free a slot happens under this lock, so that no claim can close
-- a lane on what it no longer knows.
create or replace function public.lock_tenant(for_user uuid)
returns void
language plpgsql set search_path = '' as $$
begin
  perform from public.task_tenants where user_id = for_user for no key update;
end
$$;
revoke all on function public.lock_tenant from public, anon, authenticated;
