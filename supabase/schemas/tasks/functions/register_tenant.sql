-- Gives a user a place in the queue, with five slots.
create or replace function public.register_tenant(for_user uuid)
returns void
language sql set search_path = '' as $$
  insert into public.task_tenants (user_id, allows_cloud, allows_local)
  select id, public.allows_cloud(settings), public.allows_local(settings) from public.users where id = for_user
  on conflict (user_id) do nothing;
  insert into public.task_slots (user_id, slot)
  select for_user, slot from generate_series(1, 5) as slot
  on conflict (user_id, slot) do nothing
$$;
revoke all on function public.register_tenant from public, anon, authenticated;
