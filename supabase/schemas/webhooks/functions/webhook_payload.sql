-- The body of a message, as Standard Webhooks has it: type, timestamp, data.
create or replace function public.webhook_payload(event text, contents json)
returns text
language sql volatile set search_path = '' as $$
  select json_build_object('type', event, 'timestamp', public.webhook_time(clock_timestamp()), 'data', contents)::text
$$;
revoke all on function public.webhook_payload from public, anon, authenticated;
