-- Reserves a task's upper bound, or refuses with 402. The condition is part of the update, so any number
-- of racers share one balance correctly.
create or replace function public.open_hold(for_user uuid, for_task uuid, hold_microusd bigint)
returns void
language plpgsql set search_path = '' as $$
begin
  perform public.reserve_credit(for_user, hold_microusd);
  insert into public.credit_holds (task_id, user_id, amount_microusd) values (for_task, for_user, hold_microusd)
  on conflict (task_id) do update
    set amount_microusd = excluded.amount_microusd, state = 'held', created_at = now(), closed_at = null
    where credit_holds.state = 'released';
  if not found then
    raise exception 'task % is held or settled already', for_task;
  end if;
end
$$;
revoke all on function public.open_hold from public, anon, authenticated;
