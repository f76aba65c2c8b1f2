-- Covers a run for one more step before its held amount is used up: by a step of seconds, or by what the account and its caps
-- still allow. What then runs uncovered is ended by end_uncovered_runs().
-- Guarantee: waits for no lock. What somebody has locked is covered by a later call.
create or replace function public.grow_hold(for_task uuid)
returns void
language plpgsql set search_path = '' as $$
declare
  orchestration uuid;
  task public.tasks;
begin
  foreach orchestration in array public.orchestrations_around(for_task) loop
    perform from public.tasks where id = orchestration for no key update skip locked;
    if not found then
      return;
    end if;
  end loop;
  select * into task from public.tasks
   where id = for_task and status = 'In Progress' and covered_until < now() + public.hold_check_ahead()
     for no key update skip locked;
  if not found then
    return;
  end if;
  perform from public.credit_accounts where user_id = task.user_id for no key update skip locked;
  if found then
    perform public.cover_run(task);
  end if;
end
$$;
revoke all on function public.grow_hold from public, anon, authenticated;
