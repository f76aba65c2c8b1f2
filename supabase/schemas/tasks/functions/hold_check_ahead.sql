-- How long before a held amount is used up it grows: several times as long as the pause between two looks at it, and shorter
-- than a step.
create or replace function public.hold_check_ahead()
returns interval
language sql immutable set search_path = '' as $$
  select interval '20 seconds'
$$;
revoke all on function public.hold_check_ahead from public, anon, authenticated;
