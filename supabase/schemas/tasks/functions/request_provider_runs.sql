-- On Supabase, by pg_cron: has the function `run-provider-tasks` run tasks that wait for a provider. Nothing happens while none
-- waits that the provider may have, or as many calls run as may. Before the function has said what it runs, it is called at most every ten minutes.
create or replace function public.request_provider_runs()
returns void
language plpgsql security definer set search_path = '' as $$
declare
  runner public.provider_runners;
  allowed record;
begin
  for runner in
    select * from public.provider_runners where next_call_at <= now() order by provider for no key update skip locked
  loop
    select * into allowed from public.provider_task_types(
      runner.provider, null, (select fal_runs from public.queue_settings));
    continue when not exists (
      select from public.task_lanes as lane
       where lane.is_open and (runner.task_types = '{}' or lane.task_type = any (runner.task_types))
         and (lane.task_type = any (allowed.types) or lane.is_late and lane.task_type = any (allowed.late_types)));
    continue when (
      select count(*) from public.workers
       where id like runner.provider || '-function-%' and status = 'active' and last_heartbeat > now() - interval '1 minute'
    ) >= runner.most_runners;
    update public.provider_runners
       set next_call_at = now() + case when runner.task_types = '{}' then interval '10 minutes' else interval '10 seconds' end
     where provider = runner.provider;
    perform public.call_edge_function('run-provider-tasks');
  end loop;
end
$$;
revoke all on function public.request_provider_runs from public, anon, authenticated;
