-- How long to wait after so many failures; none after the eighth: 5 s, 5 min, 30 min, 2 h, 5 h, 8 h, 8 h, about
-- a day in all. Up to a tenth more, so that what failed together does not come back together.
create or replace function public.webhook_retry_delay(failures integer)
returns interval
language sql volatile set search_path = '' as $$
  select (array['5 seconds', '5 minutes', '30 minutes', '2 hours', '5 hours', '8 hours', '8 hours']::interval[])[failures]
         * (1 + 0.1 * random())
$$;
revoke all on function public.webhook_retry_delay from public, anon, authenticated;
