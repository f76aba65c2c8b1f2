-- The heartbeat as the shipped GPU worker sends it, over REST; its first one comes before its first claim. What it
-- cannot have meant is left out, for a heartbeat that fails costs the worker its tasks.
create or replace function public.func_worker_heartbeat_with_logs(
  worker_id_param text, vram_total_mb_param numeric default null, vram_used_mb_param numeric default null,
  logs_param json default null, status_param text default 'active'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  worker constant text := trim(coalesce(worker_id_param, ''));
  said constant text := lower(trim(coalesce(status_param, '')));
begin
  if length(worker) not between 1 and 200 then
    perform public.refuse('invalid_request', 400, jsonb_build_object('field', 'worker_id_param'));
  end if;
  return public.worker_heartbeat(null, worker, jsonb_build_object(
    'status', case when said in ('inactive', 'spawning', 'active', 'error', 'crashed', 'terminating', 'terminated')
                   then said else 'active' end,
    'vram_total_mb', case when vram_total_mb_param between 0 and 1e9 then round(vram_total_mb_param) end,
    'vram_used_mb', case when vram_used_mb_param between 0 and 1e9 then round(vram_used_mb_param) end),
    logs_param::text);
end
$$;
revoke all on function public.func_worker_heartbeat_with_logs from public, anon, authenticated;
grant execute on function public.func_worker_heartbeat_with_logs to service_role;
