-- A deleted task gives back its slot and its hold; an orchestrator pays its finished children first.
-- An archived task has none, and is not deleted.
create or replace function public.leave_queue()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.archived_tasks where id = old.id) then
    return old;
  end if;
  perform public.free_slots(array[old::public.tasks]);
  perform public.close_hold(old.id, case when old.is_orchestrator then public.cost_of_run(old, false) else 0 end,
                            public.charge_metadata(old));
  return old;
end
$$;
revoke all on function public.leave_queue from public, anon, authenticated;
