-- Notes that a worker claims, and for what: see own_worker_types(). Written when that changed, else every ten seconds. A row that
-- another call has locked is left to the next claim.
create or replace function public.note_claim(
  worker public.workers, for_provider text, for_run_type text, only_task_types text[]
) returns void
language plpgsql set search_path = '' as $$
begin
  if worker.last_claim_at >= now() - interval '10 seconds'
     and (worker.provider, worker.claimed_run_type, worker.claimed_task_types)
         is not distinct from (for_provider, for_run_type::public.run_type, only_task_types) then
    return;
  end if;
  update public.workers as known
     set last_claim_at = now(), provider = for_provider, claimed_run_type = for_run_type, claimed_task_types = only_task_types
   where id = (select id from public.workers where id = worker.id for no key update skip locked);
  if found and worker.status = 'inactive' then
    -- One that sends no heartbeats and that no autoscaler manages became inactive by silence: see mark_silent_workers().
    update public.workers set status = 'active'
     where id = worker.id and status = 'inactive' and not heartbeats and instance_type = 'external';
  end if;
end
$$;
revoke all on function public.note_claim from public, anon, authenticated;
