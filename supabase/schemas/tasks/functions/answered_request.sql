-- The first answer to a request with this key; null when the key is new. Another request with it is 422.
create or replace function public.answered_request(for_owner uuid, key text, hash bytea)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  known public.task_requests;
begin
  select * into known from public.task_requests where user_id = for_owner and idempotency_key = key;
  if not found then
    return null;
  end if;
  if known.request_hash <> hash then
    perform public.refuse('idempotency_key_reused', 422);
  end if;
  return known.answer || '{"deduplicated": true}';
end
$$;
revoke all on function public.answered_request from public, anon, authenticated;
