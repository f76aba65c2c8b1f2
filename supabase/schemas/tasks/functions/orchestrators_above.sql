-- The orchestrator of a part, that orchestrator's own, and so on to the outermost.
create or replace function public.orchestrators_above(part public.tasks)
returns uuid[]
language plpgsql stable set search_path = '' as $$
declare
  candidate uuid := part.orchestrator_task_id;
  found_ids uuid[] := '{}';
begin
  while candidate is not null and candidate <> all (found_ids) loop
    found_ids := found_ids || candidate;
    candidate := (select orchestrator_task_id from public.tasks where id = candidate);
  end loop;
  return found_ids;
end
$$;
revoke all on function public.orchestrators_above from public, anon, authenticated;
