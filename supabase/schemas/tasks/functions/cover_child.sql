-- A child is paid from the hold of its (outermost) orchestrator; when the children need more than what is
-- held, the hold is raised (402 when the account cannot). Without this, an orchestrator would be a way
-- to free work.
create or replace function public.cover_child(orchestrator_id uuid, child_microusd bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  orchestrator public.tasks;
  excess bigint;
begin
  update public.tasks set children_held_microusd = children_held_microusd + child_microusd
   where id = orchestrator_id
  returning * into orchestrator;
  excess := orchestrator.children_held_microusd - orchestrator.held_microusd;
  if excess <= 0 then
    return;
  end if;
  update public.tasks set held_microusd = children_held_microusd where id = orchestrator_id;
  if orchestrator.orchestrator_task_id is null then
    perform public.extend_hold(orchestrator_id, orchestrator.children_held_microusd);
  else
    perform public.cover_child(orchestrator.orchestrator_task_id, excess);
  end if;
end
$$;
revoke all on function public.cover_child from public, anon, authenticated;
