-- A checkout as `stripe-checkout` goes on with it. A page that ends within a minute counts as over.
create or replace function public.checkout_summary(checkout public.checkout_sessions, customer public.stripe_customers)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return jsonb_build_object(
    'request_id', checkout.request_id, 'session_id', checkout.id, 'url', checkout.url, 'status', checkout.status,
    'is_over', checkout.status = 'expired' or coalesce(checkout.expires_at <= now() + interval '1 minute', false),
    'renewals', checkout.renewals, 'success_url', checkout.success_url, 'user_id', checkout.user_id,
    'customer', to_jsonb(customer));
end
$$;
revoke all on function public.checkout_summary from public, anon, authenticated;
