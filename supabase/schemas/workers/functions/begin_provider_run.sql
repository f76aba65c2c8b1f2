-- Begins a call of the function that runs a provider's tasks. Answers the worker's name under which it claims; null when as many
-- calls run as may. Guarantee: two calls that run at the same time have different names. A name whose call was killed is given
-- again after two minutes without a heartbeat, when its leases have ended.
create or replace function public.begin_provider_run(for_provider text, task_types text[], most_runners integer)
returns text
language plpgsql security definer set search_path = '' as $$
declare
  given_name text;
begin
  insert into public.provider_runners as runner (provider, task_types, most_runners, next_call_at)
  values (for_provider, begin_provider_run.task_types, begin_provider_run.most_runners, now() + interval '10 seconds')
  on conflict (provider) do update
    set task_types = excluded.task_types, most_runners = excluded.most_runners, next_call_at = excluded.next_call_at;
  for place in 1..begin_provider_run.most_runners loop
    insert into public.workers as worker (id, status, own_status, heartbeats, last_heartbeat, provider)
    values (format('%s-function-%s', for_provider, place), 'active', 'active', true, now(), for_provider)
    on conflict (id) do update
      set status = 'active', own_status = 'active', heartbeats = true, last_heartbeat = now(), provider = excluded.provider
      where worker.status not in ('active', 'terminating') or worker.last_heartbeat < now() - interval '2 minutes'
    returning worker.id into given_name;
    if found then
      return given_name;
    end if;
  end loop;
  return null;
end
$$;
revoke all on function public.begin_provider_run from public, anon, authenticated;
grant execute on function public.begin_provider_run to service_role;
