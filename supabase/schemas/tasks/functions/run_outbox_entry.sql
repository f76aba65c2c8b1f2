-- Does a batch of one row of task_outbox, and removes the row when nothing is left of it. Answers how many tasks or rows it
-- changed. The caller holds the row's and the tenant's lock.
create or replace function public.run_outbox_entry(entry public.task_outbox, at_most integer)
returns integer
language plpgsql set search_path = '' as $$
declare
  did integer;
  is_done boolean;
begin
  if entry.kind = 'release_dependants' then
    did := public.release_some_dependants(entry.subject_id, at_most);
    is_done := did < at_most;
  elsif entry.kind = 'end_relatives' then
    select * into did, is_done from public.end_some_relatives(entry, at_most);
  else
    select * into did, is_done from public.delete_some_of_project(entry.subject_id, at_most);
  end if;
  if is_done then
    delete from public.task_outbox where id = entry.id;
    did := did + 1;
  end if;
  return did;
end
$$;
revoke all on function public.run_outbox_entry from public, anon, authenticated;
