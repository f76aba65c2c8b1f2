-- How many workers serve a run type now: those that run a task of it, and those that were heard within two minutes and
-- run nothing (they may serve any). An owner's own are counted for that owner alone. Workers of the named providers do not count.
create or replace function public.active_workers(
  for_run_type text, for_user uuid, without_providers text[], out busy integer, out idle integer
)
language plpgsql stable set search_path = '' as $$
begin
  select count(distinct worker_id) into busy from public.tasks
   where status = 'In Progress' and run_type = for_run_type and not is_orchestrator
     and (for_user is null and not claimed_by_owner or user_id = for_user and claimed_by_owner)
     and not exists (select from public.workers as worker
                      where worker.id = tasks.worker_id and worker.provider = any (without_providers) and for_user is null);
  select count(*) into idle from public.workers as worker
   where worker.status = 'active' and worker.last_heartbeat > now() - interval '2 minutes'
     and worker.user_id is not distinct from for_user and worker.provider = any (without_providers) is not true
     and not exists (select from public.tasks
                      where status = 'In Progress'
                        and worker_id = case when for_user is null then worker.id
                                             else substr(worker.id, length(for_user::text) + 2) end);
end
$$;
revoke all on function public.active_workers from public, anon, authenticated;
