-- Lines of log as autoscalers and API workers send them, over REST; `errors` counts those that were dropped.
create or replace function public.func_insert_logs_batch(logs json)
returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object('success', true, 'inserted', written.inserted, 'errors', written.dropped)
    from public.write_logs(logs::text, 1000, null, null) as written
$$;
revoke all on function public.func_insert_logs_batch from public, anon, authenticated;
grant execute on function public.func_insert_logs_batch to service_role;
