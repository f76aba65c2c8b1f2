-- A time as ISO 8601 in UTC, whatever the time zone of the connection.
create or replace function public.webhook_time(at timestamptz)
returns text
language sql stable set search_path = '' as $$
  select to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;
revoke all on function public.webhook_time from public, anon, authenticated;
