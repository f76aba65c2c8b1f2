-- Counts how long a finished run took, under its model where the operator knows that. Never waits: a run whose bucket somebody is writing is not counted.
create or replace function public.note_run_time(finished public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  for_bucket smallint;
  for_model constant text := public.known_model(finished.model);
begin
  -- Neither an owner's machine nor the sandbox says anything about the cloud's.
  if finished.is_orchestrator or finished.claimed_by_owner or public.is_sandbox_worker(finished.worker_id)
     or finished.generation_started_at is null then
    return;
  end if;
  for_bucket := public.run_time_bucket(extract(epoch from finished.generation_processed_at - finished.generation_started_at));
  update public.task_run_times set runs = runs + 1
   where ctid = (select ctid from public.task_run_times
                  where task_type = finished.task_type and model = for_model and bucket = for_bucket
                  for no key update skip locked);
  if found or exists (select from public.task_run_times
                       where task_type = finished.task_type and model = for_model and bucket = for_bucket) then
    return;
  end if;
  insert into public.task_run_times (task_type, model, bucket, runs) values (finished.task_type, for_model, for_bucket, 1)
  on conflict (task_type, model, bucket) do nothing;
end
$$;
revoke all on function public.note_run_time from public, anon, authenticated;
