-- A deleted task gives back its slot and its hold. A task that is deleted while it runs costs what a cancelled one does; an
-- orchestrator pays its finished children first, and what the others have consumed: they end after the statement, see
-- end_uncovered_parts(). An archived task has none of these, and is not deleted.
create or replace function public.leave_queue()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  ended_at constant timestamptz := clock_timestamp();
  payer constant uuid := public.payer_of_task(old);
  part public.tasks;
  consumed bigint;
begin
  if exists (select from public.archived_tasks where id = old.id) then
    return old;
  end if;
  perform public.free_slots(array[old::public.tasks]);
  consumed := (public.give_up_run(old, true, ended_at)).cost_microusd;
  if old.is_orchestrator then
    consumed := public.cost_of_run(old, true)
      - coalesce((select hold.consumed_microusd from public.credit_holds as hold where hold.task_id = payer and payer = old.id), 0);
    for part in
      with recursive family (id) as (
        select old.id
        union
        select child.id from family join public.tasks as child on child.orchestrator_task_id = family.id
      )
      select task.* from family join public.tasks as task on task.id = family.id where task.id <> old.id
    loop
      consumed := consumed + (public.give_up_run(part, true, ended_at)).cost_microusd;
    end loop;
  else
    consumed := consumed + coalesce(old.cost_microusd, 0);
  end if;
  if old.status in ('Queued', 'In Progress') then
    perform public.count_unpaid_cost(array[old.id], consumed);
  end if;
  -- A part that is deleted after its orchestrator was counted with it. Of a charge that was made it is noted what it was for.
  if payer = old.id or exists (select from public.tasks where id = payer) then
    update public.credit_holds set consumed_microusd = consumed_microusd + consumed
     where task_id = payer and (state = 'held' or state = 'settled' and payer <> old.id);
  end if;
  if payer = old.id then
    perform public.settle_hold(old.id, is_deleted => true, metadata => public.charge_metadata(old) || '{"reason": "deleted"}');
  end if;
  return old;
end
$$;
revoke all on function public.leave_queue from public, anon, authenticated;
