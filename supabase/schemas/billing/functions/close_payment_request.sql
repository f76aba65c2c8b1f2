-- What was asked for is paid. After the credit, for an account is locked before its person.
create or replace function public.close_payment_request(told jsonb, payment_intent_id text)
returns void
language plpgsql set search_path = '' as $$
begin
  if told ->> 'purpose' = 'auto_topup' then
    perform public.record_auto_topup((told ->> 'request_id')::uuid, 'succeeded', payment_intent_id);
  else
    update public.checkout_sessions
       set status = 'complete',
           -- Where our own note of Stripe's answer was lost.
           id = coalesce(id, told ->> 'session_id'), url = coalesce(url, ''), expires_at = coalesce(expires_at, now())
     where request_id = (told ->> 'request_id')::uuid and status <> 'complete'
       and (id is not null or told ->> 'session_id' is not null);
  end if;
end
$$;
revoke all on function public.close_payment_request from public, anon, authenticated;
