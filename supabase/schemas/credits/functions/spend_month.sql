-- The first day of the month, in UTC, in which spend caps count something.
create or replace function public.spend_month(at timestamptz)
returns date
language plpgsql stable set search_path = '' as $$
begin
  return date_trunc('month', at at time zone 'UTC')::date;
end
$$;
revoke all on function public.spend_month from public, anon, authenticated;
