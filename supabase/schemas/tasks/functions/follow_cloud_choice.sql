-- Opens or closes a user's lanes for the cloud when they change their mind.
create or replace function public.follow_cloud_choice()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.task_tenants set allows_cloud = public.allows_cloud(new.settings)
   where user_id = new.id and allows_cloud <> public.allows_cloud(new.settings);
  if found then
    perform public.open_lanes(new.id);
  end if;
  return null;
end
$$;
revoke all on function public.follow_cloud_choice from public, anon, authenticated;
