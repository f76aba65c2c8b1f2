-- A task goes back to the queue while a provider has a job of it: that provider may take it at once, whatever own workers are
-- active, and they leave it to the provider. The caller holds the tenant's lock.
create or replace function public.let_provider_resume(for_task uuid, lane bigint)
returns void
language plpgsql set search_path = '' as $$
begin
  if exists (select from public.provider_jobs where task_id = for_task and not by_owner) then
    update public.task_lanes set is_late = true where id = lane and not is_late;
  end if;
end
$$;
revoke all on function public.let_provider_resume from public, anon, authenticated;
