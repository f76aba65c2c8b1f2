-- A row that a browser, or the service, writes into `tasks` itself, over REST: becomes what create_task() would have
-- made of it, whatever else it says. Only the columns of a request count. It writes nothing that lasts but an empty lane: with
-- `on conflict` (PostgREST's `resolution=`) the row may not be inserted. What lasts is done by queue_direct_task().
create or replace function public.plan_direct_task()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  caller constant uuid := auth.uid();
  plan record;
begin
  if new.status <> 'Queued' then
    perform public.refuse('invalid_request', 400, '{"field": "status"}');
  end if;
  if exists (select from public.archived_tasks where id = new.id) then
    perform public.refuse('task_id_conflict', 409);
  end if;
  if caller is not null then
    -- As create-task counts.
    perform public.take_rate_limit('create-task:' || caller, 600, 60);
  end if;
  select * into plan from public.plan_task(
    caller,
    jsonb_strip_nulls(jsonb_build_object(
      'task_type', new.task_type, 'project_id', new.project_id, 'priority', new.priority,
      'dependant_on', new.dependant_on)) || jsonb_build_object('params', new.params),
    new.id);
  new := plan.planned;
  if (plan.result).id is not null then
    new := public.as_reused(new, plan.result);
  end if;
  return new;
end
$$;
revoke all on function public.plan_direct_task from public, anon, authenticated;
