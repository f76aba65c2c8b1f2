-- Writes what subscribers are to be told of a task's new status, in the transaction that changes it.
-- Guarantees: costs one index probe where nobody subscribes, and never makes the change itself fail: an endpoint
-- that is being deleted is passed over (its row is locked before it is referred to), and what is long is left out.
create or replace function public.write_webhook_outbox()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  event constant text := 'task.' || replace(lower(new.status::text), ' ', '_');
  next_seq bigint;
  body text;
begin
  if tg_op = 'UPDATE' and old.status = new.status then
    return null;
  end if;
  if not exists (select from public.webhook_endpoints as endpoint
                  where endpoint.project_id = new.project_id and endpoint.enabled and event = any (endpoint.events)) then
    return null;
  end if;
  if tg_op = 'INSERT' and new.reused_task_id is not null then
    -- Over REST, its output is made after the insert.
    new.result_data := (select result_data from public.tasks where id = new.id);
  end if;
  next_seq := nextval('public.webhook_sequence');
  body := public.webhook_payload(event, json_build_object(
    'task_id', new.id, 'project_id', new.project_id, 'task_type', new.task_type,
    'orchestrator_task_id', new.orchestrator_task_id,
    'status', new.status, 'previous_status', case when tg_op = 'UPDATE' then old.status end,
    'attempt', new.attempt, 'progress', new.progress,
    -- Half an address is worse than none; `get-task-status` has it whole.
    'output_location', case when length(new.output_location) <= 4000 then new.output_location end,
    'thumbnail_url', case when length(new.thumbnail_url) <= 4000 then new.thumbnail_url end,
    'error_message', left(new.error_message, 2000),
    'generation_id', new.result_data -> 'generation_id', 'variant_id', new.result_data -> 'variant_id',
    'reused', new.reused_task_id is not null,
    'created_at', public.webhook_time(new.created_at),
    'generation_started_at', public.webhook_time(new.generation_started_at),
    'generation_processed_at', public.webhook_time(new.generation_processed_at),
    'seq', next_seq));
  insert into public.webhook_deliveries (endpoint_id, seq, type, task_id, payload)
  select endpoint.id, next_seq, event, new.id, body
    from public.webhook_endpoints as endpoint
   where endpoint.project_id = new.project_id and endpoint.enabled and event = any (endpoint.events)
     for key share;
  return null;
end
$$;
revoke all on function public.write_webhook_outbox from public, anon, authenticated;
