-- The task whose hold pays for this one: the outermost orchestration that it is part of, else itself.
create or replace function public.payer_of_task(task public.tasks)
returns uuid
language plpgsql stable set search_path = '' as $$
declare
  payer uuid := task.id;
  orchestrator uuid := task.orchestrator_task_id;
begin
  while orchestrator is not null loop
    payer := orchestrator;
    select orchestrator_task_id into orchestrator from public.tasks where id = payer;
  end loop;
  return payer;
end
$$;
revoke all on function public.payer_of_task from public, anon, authenticated;
