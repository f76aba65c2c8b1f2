-- How long until a charge is tried again: half a minute, doubled up to an hour, with some chance so that what failed
-- together does not return together. All tries with Stripe's key lie well within the day that Stripe remembers it.
create or replace function public.auto_topup_retry_delay(attempts integer)
returns interval
language plpgsql volatile set search_path = '' as $$
begin
  return least(interval '30 seconds' * power(2, least(attempts, 10) - 1), interval '1 hour') * (0.75 + random() / 2);
end
$$;
revoke all on function public.auto_topup_retry_delay from public, anon, authenticated;
