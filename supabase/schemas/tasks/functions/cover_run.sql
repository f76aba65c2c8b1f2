-- Holds one more step of a run, as far as the account and its caps allow, and answers the task with the time until which it is
-- covered now. The caller holds the locks of the task, its orchestrations and its account.
create or replace function public.cover_run(task public.tasks)
returns public.tasks
language plpgsql set search_path = '' as $$
declare
  price public.task_type_prices;
  wanted_seconds integer;
  held bigint;
  seconds integer;
begin
  select * into price from public.task_type_prices where id = task.price_id;
  -- From this moment, where the last look was long ago.
  wanted_seconds := greatest(task.covered_seconds, ceil(extract(epoch from now() - task.generation_started_at)))
                    + (select hold_growth_seconds from public.credit_settings);
  held := public.raise_hold(task, public.hold_for_seconds(price, task.billed, wanted_seconds));
  if held < task.upper_bound_microusd then
    seconds := public.seconds_paid_by(held, price, task.billed);
  end if;
  update public.tasks
     set held_microusd = held, covered_seconds = seconds,
         covered_until = task.generation_started_at + make_interval(secs => seconds)
   where id = task.id
  returning * into task;
  return task;
end
$$;
revoke all on function public.cover_run from public, anon, authenticated;
