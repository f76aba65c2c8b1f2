-- Reserves what a task is expected to cost, or refuses with 402, also where a spend cap of the project or of the token that asked
-- for it is reached. A task that still waits 30 days after it could have run is given up: see give_up_old_tasks().
create or replace function public.open_hold(
  for_user uuid, for_task uuid, hold_microusd bigint, for_project uuid, for_token uuid default null,
  not_before timestamptz default null
) returns void
language plpgsql set search_path = '' as $$
declare
  account public.credit_accounts;
begin
  account := public.reserve_credit(for_user, hold_microusd);
  if account.has_spend_caps then
    perform public.count_against_spend_caps(for_project, for_token, hold_microusd, public.spend_month(now()));
  end if;
  insert into public.credit_holds (task_id, user_id, project_id, token_id, amount_microusd, expires_at)
  values (for_task, for_user, for_project, for_token, hold_microusd,
          greatest(now(), not_before) + interval '30 days')
  on conflict (task_id) do update
    set amount_microusd = excluded.amount_microusd, state = 'held', created_at = now(), expires_at = excluded.expires_at,
        closed_at = null, project_id = excluded.project_id, token_id = excluded.token_id
    where credit_holds.state = 'released' and credit_holds.user_id = excluded.user_id;
  if not found then
    raise exception 'task % is held or settled already', for_task;
  end if;
end
$$;
revoke all on function public.open_hold from public, anon, authenticated;
