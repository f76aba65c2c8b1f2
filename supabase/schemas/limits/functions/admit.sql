-- Lets a caller in, in the statement that serves it: a token is looked up, held against its scope and
-- noted as used; the request is counted, unless it has no limit. Refusals: 401 unauthenticated, 403 insufficient_scope, 429.
create or replace function public.admit(
  for_user uuid, for_token_hash bytea, for_scope text,
  limit_key text, limit_requests integer, limit_window_seconds integer,
  out user_id uuid, out remaining integer, out reset_at bigint, out token_id uuid
)
language plpgsql security definer set search_path = '' as $$
declare
  token public.personal_access_tokens;
begin
  if for_token_hash is null then
    user_id := for_user;
  else
    select * into token from public.personal_access_tokens as known
     where known.token_hash = for_token_hash
       and known.revoked_at is null
       and (known.expires_at is null or known.expires_at > now());
    if not found then
      perform public.refuse('unauthenticated', 401);
    end if;
    if for_scope <> '' and not for_scope = any (token.scopes) then
      perform public.refuse('insufficient_scope', 403, jsonb_build_object('scope', for_scope));
    end if;
    user_id := token.user_id;
    token_id := token.id;
    if token.last_used_at is null or token.last_used_at < now() - interval '1 minute' then
      -- Whoever finds the row locked leaves the note to the one who holds it.
      update public.personal_access_tokens as used set last_used_at = now()
       where used.id = (select id from public.personal_access_tokens
                         where id = token.id for no key update skip locked);
    end if;
  end if;
  if limit_requests is not null then
    select taken.remaining, taken.reset_at into remaining, reset_at
      from public.take_rate_limit(limit_key || ':' || user_id, limit_requests, limit_window_seconds) as taken;
  end if;
end
$$;
revoke all on function public.admit from public, anon, authenticated;
grant execute on function public.admit to service_role;
