-- Whether two checkouts are the same purchase, which comes back to the same pages.
create or replace function public.is_same_checkout(one public.checkout_sessions, other public.checkout_sessions)
returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return (one.user_id, one.amount_cents, one.success_url, one.cancel_url)
           = (other.user_id, other.amount_cents, other.success_url, other.cancel_url)
     and (one.auto_topup_amount_cents, one.auto_topup_threshold_cents, one.auto_topup_monthly_cap_cents)
           is not distinct from
         (other.auto_topup_amount_cents, other.auto_topup_threshold_cents, other.auto_topup_monthly_cap_cents);
end
$$;
revoke all on function public.is_same_checkout from public, anon, authenticated;
