-- Workers that have stopped to send heartbeats are inactive, and so are those that never sent any, have stopped to claim and run
-- nothing; their tasks are the business of leases. Answers how many.
-- Only those that nobody manages: an autoscaler looks among active workers for machines that fell silent, to
-- end them, and would forget to pay attention to one that is called inactive.
-- Safe to run anywhere at once: a row that another has locked is skipped.
create or replace function public.mark_silent_workers()
returns integer
language sql security definer set search_path = '' as $$
  with silent as (
    select id from public.workers
     where status in ('active', 'spawning') and instance_type = 'external'
       and case when heartbeats then last_heartbeat
                when not exists (select from public.tasks
                                  where status = 'In Progress'
                                    and worker_id in (workers.id, substr(workers.id, length(workers.user_id::text) + 2)))
                then last_claim_at end
           < now() - (select silent_worker_after from public.queue_settings)
     order by id for no key update skip locked
  ), marked as (
    update public.workers as worker set status = 'inactive'
      from silent where worker.id = silent.id
    returning 1
  )
  select count(*)::integer from marked
$$;
revoke all on function public.mark_silent_workers from public, anon, authenticated;
grant execute on function public.mark_silent_workers to service_role;
