-- Takes a job that the provider does not bill off the cost of its task: it was withdrawn before it began, or ended in an error.
-- Guarantee: a job is taken off once.
create or replace function public.release_provider_call(for_provider text, for_request_id text)
returns void
language plpgsql set search_path = '' as $$
declare
  released public.provider_calls;
begin
  update public.provider_calls set is_billed = false
   where provider = for_provider and request_id = for_request_id and is_billed
  returning * into released;
  if found then
    update public.task_provider_costs
       set provider_cost_microusd = provider_cost_microusd - coalesce(released.cost_microusd, 0)
     where task_id = released.task_id;
    perform public.count_unpaid_cost(array[released.task_id]);
  end if;
end
$$;
revoke all on function public.release_provider_call from public, anon, authenticated;
