-- What a finished run costs: nothing on the owner's own machine or without an output; an orchestrator what
-- its parts cost, each once, also those of an orchestration within it that failed: the finished ones, and those that the owner
-- cancelled while they ran; else the price it was quoted, by the database's clock, at most the seconds of its own bound. A part
-- that ended without a charge has no cost.
create or replace function public.cost_of_run(
  task public.tasks, has_output boolean, ended_at timestamptz default clock_timestamp()
)
returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return (
    select case
        when task.is_orchestrator then
          (select coalesce(sum(part.cost_microusd), 0)::bigint from public.parts_of_task(task.id) as part)
          + coalesce((select hold.consumed_microusd from public.credit_holds as hold where hold.task_id = task.id), 0)
        when task.claimed_by_owner or not task.in_cloud or not has_output then 0
        else public.price_of_work(
          price, public.billed_of_run(task.billed, task.result_data), extract(epoch from ended_at - task.generation_started_at),
          public.seconds_of_bound(task.upper_bound_microusd, price, task.billed))
        end
        from public.task_type_prices as price where price.id = task.price_id);
end
$$;
revoke all on function public.cost_of_run from public, anon, authenticated;
