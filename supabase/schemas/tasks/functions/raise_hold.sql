-- Raises what is held for a task to an amount, at most its upper bound, or as far as the account and its spend caps allow.
-- A part takes first what its orchestrations hold and have not given to a part. Answers what is held now; the caller writes it
-- into the task's row. Never refuses. The caller holds the locks of the task and its orchestrations.
create or replace function public.raise_hold(task public.tasks, wanted_microusd bigint)
returns bigint
language plpgsql set search_path = '' as $$
declare
  outermost public.tasks := task;
  unused bigint := 0;
  hold public.credit_holds;
  held bigint;
  missing bigint;
begin
  while outermost.orchestrator_task_id is not null loop
    select * into outermost from public.tasks where id = outermost.orchestrator_task_id;
    unused := unused + greatest(outermost.held_microusd - outermost.children_held_microusd, 0);
  end loop;
  -- The account before the hold's row is read: whoever changes one has locked the other.
  perform from public.credit_accounts where user_id = task.user_id for no key update;
  select * into hold from public.credit_holds where task_id = outermost.id and state = 'held' for no key update;
  held := case when outermost.id = task.id then hold.amount_microusd else task.held_microusd end;
  if hold.task_id is null then
    return task.held_microusd;
  end if;
  missing := least(wanted_microusd, task.upper_bound_microusd) - held;
  if missing > unused then
    missing := least(missing, unused + public.available_for_hold(hold));
  end if;
  if missing <= 0 then
    return held;
  end if;
  if outermost.id = task.id then
    perform public.extend_hold(task.id, held + missing);
  else
    perform public.cover_child(task.orchestrator_task_id, missing);
  end if;
  return held + missing;
end
$$;
revoke all on function public.raise_hold from public, anon, authenticated;
