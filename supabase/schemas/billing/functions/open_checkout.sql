-- A checkout as it is asked for: a new request, or the one that this call repeats. A repeat has the same key; without
-- a key, it is the same purchase within a minute (a double click) that is neither paid nor expired. A repeat whose page is
-- over says so (`is_over`); renew_checkout() then makes room for another page.
-- Guarantees: calls of one user follow each other, for the row of the customer is locked, so repeats find their first.
create or replace function public.open_checkout(
  for_user uuid, amount_cents integer, success_url text, cancel_url text,
  auto_topup_amount_cents integer default null, auto_topup_threshold_cents integer default null,
  auto_topup_monthly_cap_cents integer default null, idempotency_key text default null
) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
#variable_conflict use_column
declare
  customer public.stripe_customers;
  asked public.checkout_sessions;
  known public.checkout_sessions;
begin
  insert into public.stripe_customers (user_id, email)
  select one.id, one.email from public.users as one where one.id = for_user
      on conflict (user_id) do update set created_at = public.stripe_customers.created_at
  returning * into customer;
  if customer is null then
    perform public.refuse('user_not_found', 404);
  end if;
  asked.user_id := for_user;
  asked.amount_cents := open_checkout.amount_cents;
  asked.auto_topup_amount_cents := open_checkout.auto_topup_amount_cents;
  asked.auto_topup_threshold_cents := open_checkout.auto_topup_threshold_cents;
  asked.auto_topup_monthly_cap_cents :=
    coalesce(open_checkout.auto_topup_monthly_cap_cents, open_checkout.auto_topup_amount_cents * 10);
  asked.idempotency_key := open_checkout.idempotency_key;
  asked.success_url := open_checkout.success_url;
  asked.cancel_url := open_checkout.cancel_url;

  if asked.idempotency_key is not null then
    select * into known from public.checkout_sessions as one
     where one.user_id = for_user and one.idempotency_key = asked.idempotency_key;
    if found and not public.is_same_checkout(known, asked) then
      perform public.refuse('idempotency_key_reused', 422);
    end if;
  else
    select * into known from public.checkout_sessions as one
     where one.user_id = for_user and one.created_at > now() - interval '1 minute'
       and one.idempotency_key is null and one.status = 'open' and public.is_same_checkout(one, asked)
     order by one.created_at desc limit 1;
  end if;
  if known.request_id is null then
    insert into public.checkout_sessions
      (user_id, amount_cents, auto_topup_amount_cents, auto_topup_threshold_cents, auto_topup_monthly_cap_cents,
       idempotency_key, success_url, cancel_url)
    values (for_user, asked.amount_cents, asked.auto_topup_amount_cents, asked.auto_topup_threshold_cents,
            asked.auto_topup_monthly_cap_cents, asked.idempotency_key, asked.success_url, asked.cancel_url)
    returning * into known;
  end if;
  return public.checkout_summary(known, customer);
end
$$;
revoke all on function public.open_checkout from public, anon, authenticated;
grant execute on function public.open_checkout to service_role;
