-- Sends again, under the same id and on a new schedule: one delivery, whatever became of it, or the failed ones of
-- events since a time, the oldest 10,000 at a call. What is being sent at this moment is left to it. Answers how many.
create or replace function public.redeliver_webhook(
  for_user uuid, for_webhook uuid, for_delivery uuid default null, failed_since timestamptz default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  endpoint constant public.webhook_endpoints := public.owned_webhook(for_user, for_webhook);
  redelivered integer;
begin
  if not endpoint.enabled then
    perform public.refuse('webhook_disabled', 409);
  end if;
  if for_delivery is not null then
    perform from public.webhook_deliveries where id = for_delivery and endpoint_id = endpoint.id;
    if not found then
      perform public.refuse('delivery_not_found', 404);
    end if;
  end if;
  update public.webhook_deliveries as delivery
     set state = 'pending', next_attempt_at = now(), failures = 0, claim_id = null, delivered_at = null
   where delivery.endpoint_id = endpoint.id
     and (delivery.state <> 'pending' or delivery.claim_id is null or delivery.next_attempt_at <= now())
     and delivery.id in (
       select chosen.id from public.webhook_deliveries as chosen where chosen.id = for_delivery
       union all
       (select failed.id from public.webhook_deliveries as failed
         where for_delivery is null and failed.endpoint_id = endpoint.id and failed.state = 'failed'
           and failed.created_at >= failed_since
         order by failed.seq limit 10000));
  get diagnostics redelivered = row_count;
  return jsonb_build_object('success', true, 'redelivered', redelivered);
end
$$;
revoke all on function public.redeliver_webhook from public, anon, authenticated;
grant execute on function public.redeliver_webhook to service_role;
