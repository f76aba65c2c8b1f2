-- A failed or cancelled orchestration costs what its finished children cost, and its cancelled ones have consumed.
create or replace function public.settle_ended_orchestrator(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  cost constant bigint := public.cost_of_run(task, false);
begin
  update public.tasks set cost_microusd = cost where id = task.id;
  if task.orchestrator_task_id is null then
    perform public.settle_hold(task.id);
  end if;
end
$$;
revoke all on function public.settle_ended_orchestrator from public, anon, authenticated;
