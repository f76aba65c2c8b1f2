-- Counts how long a finished run took. Never waits: a run whose bucket somebody is writing is not counted.
create or replace function public.note_run_time()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  for_bucket smallint;
  for_model text := coalesce(new.model, '');
begin
  -- An owner's machine says nothing about the cloud's.
  if new.is_orchestrator or new.claimed_by_owner or new.generation_started_at is null then
    return null;
  end if;
  for_bucket := public.run_time_bucket(extract(epoch from new.generation_processed_at - new.generation_started_at));
  update public.task_run_times set runs = runs + 1
   where ctid = (select ctid from public.task_run_times
                  where task_type = new.task_type and model = for_model and bucket = for_bucket
                  for no key update skip locked);
  if found or exists (select from public.task_run_times
                       where task_type = new.task_type and model = for_model and bucket = for_bucket) then
    return null;
  end if;
  if for_model <> '' and not exists (
       select from public.task_run_times where task_type = new.task_type and model = for_model)
     and (select count(distinct model) from public.task_run_times where task_type = new.task_type) >= 200 then
    for_model := '';
  end if;
  insert into public.task_run_times (task_type, model, bucket, runs) values (new.task_type, for_model, for_bucket, 1)
  on conflict (task_type, model, bucket) do nothing;
  return null;
end
$$;
revoke all on function public.note_run_time from public, anon, authenticated;
