-- Whether a task is in progress with this worker: an owner's (`for_owner`), or the cloud's.
create or replace function public.is_run_of_worker(task public.tasks, for_worker text, for_owner uuid)
returns boolean
language sql immutable set search_path = '' as $$
  select task.status = 'In Progress' and task.worker_id = for_worker
     and task.claimed_by_owner = (for_owner is not null) and (for_owner is null or task.user_id = for_owner)
$$;
revoke all on function public.is_run_of_worker from public, anon, authenticated;
