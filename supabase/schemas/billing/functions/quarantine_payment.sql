-- Leaves something undone that does not fit, and says so once: an alert for each payment and reason.
create or replace function public.quarantine_payment(subject text, reason text, details jsonb)
returns jsonb
language plpgsql set search_path = '' as $$
begin
  insert into public.billing_alerts (subject, reason, details)
  values (quarantine_payment.subject, quarantine_payment.reason, quarantine_payment.details)
  on conflict do nothing;
  return jsonb_build_object('state', 'quarantined', 'reason', quarantine_payment.reason);
end
$$;
revoke all on function public.quarantine_payment from public, anon, authenticated;
