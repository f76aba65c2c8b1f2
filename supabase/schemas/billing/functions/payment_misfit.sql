-- Why a payment is not what we asked for; null when it is. What we asked for is in our own rows; what the payment's
-- metadata say only names them.
create or replace function public.payment_misfit(for_payment uuid, told jsonb)
returns text
language plpgsql stable set search_path = '' as $$
declare
  asked record;
begin
  if told ->> 'purpose' = 'auto_topup' then
    select user_id, amount_cents into asked from public.auto_topup_requests
     where id = public.uuid_or_null(told ->> 'request_id');
  else
    select user_id, amount_cents into asked from public.checkout_sessions
     where request_id = public.uuid_or_null(told ->> 'request_id');
  end if;
  return case
    when asked.user_id is null then 'unknown_request'
    when told ->> 'currency' is distinct from 'usd' then 'wrong_currency'
    when public.uuid_or_null(told ->> 'user_id') is distinct from asked.user_id
         or not exists (select from public.credit_accounts where user_id = asked.user_id) then 'unknown_user'
    when (told ->> 'amount_cents')::bigint is distinct from asked.amount_cents then 'wrong_amount'
    when exists (select from public.payments
                  where request_id = (told ->> 'request_id')::uuid and id <> for_payment) then 'paid_twice'
    end;
end
$$;
revoke all on function public.payment_misfit from public, anon, authenticated;
