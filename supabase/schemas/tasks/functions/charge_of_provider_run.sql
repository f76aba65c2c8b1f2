-- What a running task is certain to be charged when it ends well, and so what its jobs at a provider may cost. By the unit that is its
-- price. By the second it is the seconds that the run has taken: a provider may be done at once. An orchestrator's own run costs
-- nothing, so its own jobs may cost a twentieth of what is held for its parts.
create or replace function public.charge_of_provider_run(task public.tasks)
returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return case when task.is_orchestrator then case when task.in_cloud then task.held_microusd / 20 else 0 end
    else public.cost_of_run(task, true) end;
end
$$;
revoke all on function public.charge_of_provider_run from public, anon, authenticated;
