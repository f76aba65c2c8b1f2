-- Forgets messages a week after they were delivered, and 30 days after their event in any case; and secrets that
-- no longer sign. At most 50,000 at a call, so that no clean-up holds its locks for long.
create or replace function public.forget_old_webhooks()
returns void
language sql security definer set search_path = '' as $$
  delete from public.webhook_deliveries as delivery
   where delivery.id in (
     select old.id from public.webhook_deliveries as old
      where old.created_at < now() - interval '7 days'
        and (old.delivered_at < now() - interval '7 days' or old.created_at < now() - interval '30 days')
        and old.state <> 'pending'
      order by old.created_at limit 50000 for update skip locked);
  delete from public.webhook_secrets where expires_at < now();
$$;
revoke all on function public.forget_old_webhooks from public, anon, authenticated;
