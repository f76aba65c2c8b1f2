-- Locks the orchestrations that a task is part of, outermost first, before anybody locks the task: its end may be
-- theirs, and of two parts that end at once the second sees the first.
create or replace function public.lock_orchestrators(for_task uuid)
returns void
language plpgsql set search_path = '' as $$
declare
  orchestrator uuid := (select orchestrator_task_id from public.tasks where id = for_task);
begin
  if orchestrator is not null then
    perform public.lock_orchestrators(orchestrator);
    perform from public.tasks where id = orchestrator for no key update;
  end if;
end
$$;
revoke all on function public.lock_orchestrators from public, anon, authenticated;
