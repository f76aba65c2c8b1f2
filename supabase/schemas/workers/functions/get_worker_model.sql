-- The model that a worker has loaded, as its claims see it; null when it is not known.
create or replace function public.get_worker_model(for_user uuid, for_worker text)
returns text
language sql stable security definer set search_path = '' as $$
  select current_model from public.workers
   where id = public.worker_row_id(for_worker, for_user) and status in ('active', 'inactive')
$$;
revoke all on function public.get_worker_model from public, anon, authenticated;
grant execute on function public.get_worker_model to service_role;
