-- How long until an event is interpreted again: a minute, doubled up to an hour. 48 attempts take two days.
create or replace function public.stripe_event_retry_delay(attempts integer)
returns interval
language sql immutable set search_path = '' as $$
  select least(interval '1 minute' * power(2, least(greatest(attempts, 0), 10)), interval '1 hour')
$$;
revoke all on function public.stripe_event_retry_delay from public, anon, authenticated;
