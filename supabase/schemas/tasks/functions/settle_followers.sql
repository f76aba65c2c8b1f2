-- Gives the longest noted result to those who still follow it, at most so many; where there is no result any more, lets one
-- of them run. Answers how many tasks moved on. Safe to run anywhere at once: what another has locked is passed over, and so
-- is a user whose tenant's lock is held, or whose rows are locked for longer than 200 ms. One result a call.
create or replace function public.settle_followers(at_most integer default 200)
returns integer
language plpgsql security definer set search_path = '' set lock_timeout = '200ms' as $$
declare
  candidate record;
  busy uuid[] := '{}';
  noted public.results_to_share;
  moved integer;
begin
  for candidate in select project_id, result_key, user_id from public.results_to_share order by created_at loop
    continue when candidate.user_id = any (busy);
    -- Under the tenant's lock: who begins to follow notes it under that lock too, so no note is lost.
    perform from public.task_tenants where user_id = candidate.user_id for no key update skip locked;
    if not found then
      busy := busy || candidate.user_id;
      continue;
    end if;
    select * into noted from public.results_to_share
     where project_id = candidate.project_id and result_key = candidate.result_key for update skip locked;
    continue when not found;
    begin
      moved := public.settle_followers_of(noted, at_most);
      return moved;
    exception when lock_not_available or deadlock_detected then
      busy := busy || candidate.user_id;
    end;
  end loop;
  return 0;
end
$$;
revoke all on function public.settle_followers from public, anon, authenticated;
grant execute on function public.settle_followers to service_role;
