-- Notes the model that a cloud worker has loaded; claims prefer tasks for it. Null forgets it.
create or replace function public.update_worker_model(
  for_worker text, loaded_model text, new_instance_type text default 'external'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  worker public.workers;
  existed boolean;
begin
  existed := exists (select from public.workers where id = for_worker);
  insert into public.workers as known (id, instance_type, current_model, last_heartbeat)
  values (for_worker, new_instance_type, loaded_model, now())
  on conflict (id) do update
    set current_model = excluded.current_model, last_heartbeat = now(),
        status = public.status_after_heartbeat(known, 'active'),
        own_status = case when public.operator_decided(known) then known.own_status else 'active' end
  returning * into worker;
  return jsonb_build_object(
    'success', true, 'worker_id', worker.id, 'current_model', worker.current_model,
    'last_heartbeat', worker.last_heartbeat, 'action', case when existed then 'updated' else 'inserted' end,
    'message', coalesce(format('Worker model updated to ''%s''', worker.current_model), 'Worker model cleared'));
end
$$;
revoke all on function public.update_worker_model from public, anon, authenticated;
grant execute on function public.update_worker_model to service_role;
