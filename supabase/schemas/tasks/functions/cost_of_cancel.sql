-- What it costs when the owner ends a task at this moment; the one place that says so, for the end itself and for quotes.
-- A task that waits costs nothing, and so does a run on the owner's own worker. A run costs what a completion at this moment
-- would: by the second always; by the unit only when a job was begun for it at a provider, because such work is billed
-- whole. `withdrawal_decides`: there is a job, and if it is withdrawn before it begins the cost is nothing.
-- An orchestrator has no cost of its own; see cost_of_cancel_now().
create or replace function public.cost_of_cancel(
  task public.tasks, ended_at timestamptz default clock_timestamp(),
  out cost_microusd bigint, out basis text, out withdrawal_decides boolean
)
language plpgsql stable set search_path = '' as $$
declare
  price public.task_type_prices;
  has_job boolean;
begin
  cost_microusd := 0;
  basis := 'nothing';
  withdrawal_decides := false;
  if task.status <> 'In Progress' or task.is_orchestrator or task.claimed_by_owner or not task.in_cloud then
    return;
  end if;
  select * into price from public.task_type_prices where id = task.price_id;
  has_job := exists (select from public.provider_jobs as job where job.task_id = task.id and not job.by_owner);
  if price.cancel_policy = 'free' or price.billing_type = 'per_unit' and not has_job then
    return;
  end if;
  cost_microusd := public.cost_of_run(task, true, ended_at);
  basis := case price.billing_type when 'per_second' then 'seconds' else 'provider_job' end;
  withdrawal_decides := has_job;
end
$$;
revoke all on function public.cost_of_cancel from public, anon, authenticated;
