-- A child is paid from the hold of its (outermost) orchestrator; when the children outgrow what was
-- reserved, the hold is raised (402 when the account cannot). Without this, an orchestrator would be a way
-- to free work.
create or replace function public.cover_child(orchestrator_id uuid, child_bound_microusd bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  orchestrator public.tasks;
  excess bigint;
begin
  update public.tasks set children_bound_microusd = children_bound_microusd + child_bound_microusd
   where id = orchestrator_id
  returning * into orchestrator;
  if orchestrator.orchestrator_task_id is null then
    perform public.extend_hold(orchestrator_id, orchestrator.children_bound_microusd);
  else
    excess := orchestrator.children_bound_microusd - orchestrator.upper_bound_microusd;
    if excess > 0 then
      perform public.cover_child(orchestrator.orchestrator_task_id, least(excess, child_bound_microusd));
    end if;
  end if;
end
$$;
revoke all on function public.cover_child from public, anon, authenticated;
