-- Looks after the holds of runs whose held amount is used up soon, those that come first first: see grow_hold(). Safe to run
-- anywhere at once. Answers how many runs it looked at.
create or replace function public.grow_due_holds(at_most integer default 500)
returns integer
language plpgsql security definer set search_path = '' as $$
declare
  run uuid;
  looked_at integer := 0;
begin
  for run in
    select id from public.tasks
     where status = 'In Progress' and covered_until < now() + public.hold_check_ahead()
     order by covered_until limit at_most
  loop
    perform public.grow_hold(run);
    looked_at := looked_at + 1;
  end loop;
  return looked_at;
end
$$;
revoke all on function public.grow_due_holds from public, anon, authenticated;
grant execute on function public.grow_due_holds to service_role;
