-- A page of an endpoint's deliveries, newest first, with what came of their latest 20 attempts.
create or replace function public.list_webhook_deliveries(
  for_user uuid, for_webhook uuid, for_state text default null, before_seq bigint default null, page_size integer default 50
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  found_deliveries jsonb;
begin
  perform from public.webhook_endpoints where id = for_webhook and (for_user is null or user_id = for_user);
  if not found then
    perform public.refuse('webhook_not_found', 404);
  end if;
  select coalesce(jsonb_agg(jsonb_build_object(
           'delivery_id', delivery.id, 'type', delivery.type, 'task_id', delivery.task_id, 'seq', delivery.seq,
           'state', delivery.state, 'attempts', delivery.attempts, 'next_attempt_at', delivery.next_attempt_at,
           'delivered_at', delivery.delivered_at, 'created_at', delivery.created_at,
           'payload', delivery.payload::jsonb, 'history', (
             select coalesce(jsonb_agg(to_jsonb(past) - 'delivery_id' order by past.attempt desc), '[]')
               from (select * from public.webhook_attempts as attempt where attempt.delivery_id = delivery.id
                      order by attempt.attempt desc limit 20) as past))
           order by delivery.seq desc), '[]')
    into found_deliveries
    from (select * from public.webhook_deliveries as one
           where one.endpoint_id = for_webhook and (for_state is null or one.state = for_state)
             and (before_seq is null or one.seq < before_seq)
           order by one.seq desc limit page_size) as delivery;
  return jsonb_build_object('deliveries', found_deliveries, 'next_before_seq',
    case when jsonb_array_length(found_deliveries) = page_size then found_deliveries -> -1 -> 'seq' end);
end
$$;
revoke all on function public.list_webhook_deliveries from public, anon, authenticated;
grant execute on function public.list_webhook_deliveries to service_role;
