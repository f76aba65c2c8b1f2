-- Events that were stored more than a minute ago and not handled: the oldest, as {id, type, body}.
create or replace function public.unhandled_stripe_events(at_most integer)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  return (
    select coalesce(jsonb_agg(jsonb_build_object('id', waiting.id, 'type', waiting.type, 'body', waiting.body)
             order by waiting.received_at, waiting.id), '[]')
      from (select id, type, body, received_at from public.stripe_events
             where state = 'received' and received_at < now() - interval '1 minute'
             order by received_at, id limit at_most) as waiting);
end
$$;
revoke all on function public.unhandled_stripe_events from public, anon, authenticated;
grant execute on function public.unhandled_stripe_events to service_role;
