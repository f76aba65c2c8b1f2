-- A worker's sign of life, and all it has to tell: status, loaded model, video memory, logs. Registers an unknown
-- worker, notes that its silence will mean something, and keeps its running tasks with it, or gives them back when
-- it says that it has ended. `report` holds the optional fields of the request as they came, `log_lines` its logs.
-- `for_user` is the owner of a worker that came with a token.
create or replace function public.worker_heartbeat(
  for_user uuid, for_worker text, report jsonb default '{}', log_lines text default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  worker public.workers := public.register_worker(for_worker, for_user);
  said constant text := coalesce(report ->> 'status', 'active');
  logs record;
begin
  -- The worker's row before its tasks, here and in the trigger that the new status may set off.
  update public.workers as known
     set status = public.status_after_heartbeat(known, said),
         own_status = case when public.operator_decided(known) then known.own_status else said end,
         heartbeats = true, last_heartbeat = now(), provider = coalesce(report ->> 'provider', known.provider),
         current_model = case when report ? 'current_model' then nullif(report ->> 'current_model', '')
                              else known.current_model end,
         metadata = (case when said = 'active' then known.metadata - 'self_terminated' else known.metadata end)
           || jsonb_strip_nulls(jsonb_build_object(
                'vram_total_mb', report -> 'vram_total_mb', 'vram_used_mb', report -> 'vram_used_mb'))
           -- In a place of its own: beside it stand the notes of autoscalers.
           || case when report ? 'metadata' then jsonb_build_object('reported', report -> 'metadata') else '{}' end
   where id = worker.id
  returning * into worker;
  if for_user is null and worker.provider = 'fal' and said = 'active' then
    perform public.note_fal();
  end if;
  if said in ('crashed', 'terminated', 'error') then
    -- Also where an operator's status stayed, so that no trigger fired for this one.
    perform public.rescue_worker_tasks(for_worker, for_user, 'worker_' || said);
  else
    perform public.extend_worker_leases(for_worker, for_user, report -> 'tasks');
  end if;
  select * into logs from public.write_logs(log_lines, 100, public.worker_row_id(for_worker, for_user), for_user);
  return jsonb_build_object(
    'success', true, 'worker_id', for_worker, 'status', coalesce(worker.status, said),
    'current_model', worker.current_model, 'last_heartbeat', coalesce(worker.last_heartbeat, now()),
    'lease_seconds', (select extract(epoch from heartbeat_lease) from public.queue_settings),
    'tasks', public.runs_of_worker(for_worker, for_user, report -> 'tasks'),
    'logs_inserted', logs.inserted, 'logs_dropped', logs.dropped);
end
$$;
revoke all on function public.worker_heartbeat from public, anon, authenticated;
grant execute on function public.worker_heartbeat to service_role;
