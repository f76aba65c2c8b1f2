-- A heartbeat without logs, under the name that autoscalers know.
create or replace function public.func_update_worker_heartbeat(
  worker_id_param text, vram_total_mb_param numeric default null, vram_used_mb_param numeric default null
) returns jsonb
language sql security definer set search_path = '' as $$
  select public.func_worker_heartbeat_with_logs(worker_id_param, vram_total_mb_param, vram_used_mb_param)
$$;
revoke all on function public.func_update_worker_heartbeat from public, anon, authenticated;
grant execute on function public.func_update_worker_heartbeat to service_role;
