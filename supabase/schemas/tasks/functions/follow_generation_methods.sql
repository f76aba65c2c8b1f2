-- A user changed their mind about where their tasks run: opens or closes their lanes for the cloud.
create or replace function public.follow_generation_methods()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.task_tenants
     set allows_cloud = public.allows_cloud(new.settings), allows_local = public.allows_local(new.settings)
   where user_id = new.id
     and (allows_cloud, allows_local) <> (public.allows_cloud(new.settings), public.allows_local(new.settings));
  if found then
    perform public.open_lanes(new.id);
  end if;
  return null;
end
$$;
revoke all on function public.follow_generation_methods from public, anon, authenticated;
