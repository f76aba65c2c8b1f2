create trigger write_webhook_outbox_at_insert after insert on public.tasks
  for each row execute function public.write_webhook_outbox();
create trigger write_webhook_outbox after update of status on public.tasks
  for each row execute function public.write_webhook_outbox();

-- On Supabase, where no host has a timer. pg_net calls the function that sends.
do $$
begin
  if exists (select from pg_available_extensions where name = 'pg_cron') then
    create extension if not exists pg_cron;
    perform cron.schedule('darkroom-forget-old-webhooks', '37 * * * *', 'select public.forget_old_webhooks()');
    if exists (select from pg_available_extensions where name = 'pg_net') then
      create extension if not exists pg_net;
      perform cron.schedule('darkroom-deliver-webhooks', '5 seconds', 'select public.request_webhook_delivery()');
    end if;
  end if;
end
$$;
