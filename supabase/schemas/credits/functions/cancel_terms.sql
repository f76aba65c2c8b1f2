-- What a cancel costs under a price, at each stage, in words and numbers. `at_most_microusd`: the most that a run may cost.
create or replace function public.cancel_terms(
  price public.task_type_prices, is_orchestration boolean default false, at_most_microusd bigint default null
) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return jsonb_build_object(
    'policy', price.cancel_policy, 'while_queued_microusd', 0,
    'terms', 'Cancelling a task that waits is free. ' || case
      when is_orchestration then
        'Finished parts are charged. A part that runs is charged by the terms of its own type.'
      when price.cancel_policy = 'free' then 'Cancelling a task that runs is free.'
      when price.billing_type = 'per_second' then
        'A task that runs is charged for the seconds that it has run, begun ones whole. If it runs at a provider and is withdrawn there before it starts, it is free.'
      else 'A task that runs is charged its full price once a job was submitted for it at a provider, unless the job is withdrawn before it starts. Without such a job it is free.' end)
    || case when at_most_microusd is null then '{}' else jsonb_build_object(
      'while_running_at_most_microusd',
      case when price.cancel_policy = 'free' and not is_orchestration then 0 else at_most_microusd end) end;
end
$$;
revoke all on function public.cancel_terms from public, anon, authenticated;
