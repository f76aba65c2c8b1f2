-- Short for a worker whose silence means something; else as long as such a task may run.
create or replace function public.lease_duration(for_task_type text, worker_heartbeats boolean)
returns interval
language plpgsql stable set search_path = '' as $$
begin
  return (
    select case when worker_heartbeats
        then (select heartbeat_lease from public.queue_settings)
        else make_interval(secs => (select max_runtime_seconds from public.task_types where name = for_task_type))
      end);
end
$$;
revoke all on function public.lease_duration from public, anon, authenticated;
