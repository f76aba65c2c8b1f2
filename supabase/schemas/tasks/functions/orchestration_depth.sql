-- How many orchestrators stand above a child of this one, itself counted.
create or replace function public.orchestration_depth(of_orchestrator uuid)
returns integer
language plpgsql stable set search_path = '' as $$
declare
  above uuid := of_orchestrator;
  depth integer := 0;
begin
  while above is not null loop
    depth := depth + 1;
    above := (select orchestrator_task_id from public.tasks where id = above);
  end loop;
  return depth;
end
$$;
revoke all on function public.orchestration_depth from public, anon, authenticated;
