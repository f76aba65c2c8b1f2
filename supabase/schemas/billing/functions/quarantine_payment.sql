-- Leaves something undone that does not fit, and says so once: an alert for each payment and reason. What somebody has
-- dismissed stays dismissed.
create or replace function public.quarantine_payment(subject text, reason text, details jsonb)
returns jsonb
language plpgsql set search_path = '' as $$
begin
  insert into public.billing_alerts (subject, reason, details)
  select quarantine_payment.subject, quarantine_payment.reason, quarantine_payment.details
   where not exists (select from public.billing_alerts as known
                      where known.subject = quarantine_payment.subject and known.reason = quarantine_payment.reason
                        and known.state = 'dismissed')
  on conflict do nothing;
  return jsonb_build_object('state', 'quarantined', 'reason', quarantine_payment.reason);
end
$$;
revoke all on function public.quarantine_payment from public, anon, authenticated;
