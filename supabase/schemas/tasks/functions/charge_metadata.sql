-- What a receipt needs to be recomputed.
create or replace function public.charge_metadata(task public.tasks)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return (
    select jsonb_build_object(
        'task_type', task.task_type, 'price_id', task.price_id, 'price_version', price.version,
        'billing_type', price.billing_type, 'price_microusd', price.price_microusd,
        'multiplier', public.price_multiplier(price, public.billed_of_run(task.billed, task.result_data)),
        'duration_seconds', round(extract(epoch from task.generation_processed_at - task.generation_started_at), 3))
      || case when task.reused_task_id is null then '{}' else jsonb_build_object(
           'reused_task_id', task.reused_task_id, 'reuse_price_microusd', price.reuse_price_microusd) end
      || case when task.status in ('Failed', 'Cancelled') then jsonb_build_object('reason', lower(task.status::text)) else '{}' end
        from public.task_type_prices as price where price.id = task.price_id);
end
$$;
revoke all on function public.charge_metadata from public, anon, authenticated;
