-- Stores a new token's hash. An account holds at most 50 live tokens.
create or replace function public.generate_pat(
  for_user uuid, token_hash bytea, last_four text, label text, scopes text[], lifetime_days integer default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  stored public.personal_access_tokens;
begin
  -- The person's row is locked so that two racers cannot both be the fiftieth.
  perform from public.users where id = for_user for no key update;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  if (select count(*) from public.personal_access_tokens as token
       where token.user_id = for_user and token.revoked_at is null
         and (token.expires_at is null or token.expires_at > now())) >= 50 then
    perform public.refuse('token_limit_reached', 422, '{"limit": 50}');
  end if;
  insert into public.personal_access_tokens (user_id, token_hash, last_four, label, scopes, expires_at)
  values (for_user, generate_pat.token_hash, generate_pat.last_four, generate_pat.label, generate_pat.scopes,
          now() + make_interval(days => lifetime_days))
  returning * into stored;
  return public.token_summary(stored);
end
$$;
revoke all on function public.generate_pat from public, anon, authenticated;
grant execute on function public.generate_pat to service_role;
