-- How many seconds the first hold of a run pays for: what such a run is expected to take, and not less than the floor, so
-- that a run is covered until its hold is looked at again.
create or replace function public.first_hold_seconds(expected_seconds integer, upper_bound_seconds integer)
returns integer
language plpgsql stable set search_path = '' as $$
begin
  return least(upper_bound_seconds, greatest(
    first_hold_seconds.expected_seconds, (select first_hold_seconds from public.credit_settings)));
end
$$;
revoke all on function public.first_hold_seconds from public, anon, authenticated;
