-- Notes what the function that runs a provider's tasks can run now (nothing: it has no key), and keeps pg_cron from calling it for
-- a while.
create or replace function public.note_provider_runner(
  for_provider text, task_types text[], pause_seconds integer default 600
) returns void
language sql security definer set search_path = '' as $$
  insert into public.provider_runners (provider, task_types, next_call_at)
  values (for_provider, note_provider_runner.task_types, now() + make_interval(secs => pause_seconds))
  on conflict (provider) do update set task_types = excluded.task_types, next_call_at = excluded.next_call_at
$$;
revoke all on function public.note_provider_runner from public, anon, authenticated;
grant execute on function public.note_provider_runner to service_role;
