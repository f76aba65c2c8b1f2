-- Ends a token of this user at once; ending it again is the same success. Foreign and unknown: 404.
create or replace function public.revoke_pat(for_user uuid, token_id uuid)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  revoked public.personal_access_tokens;
begin
  update public.personal_access_tokens as token
     set revoked_at = coalesce(token.revoked_at, now())
   where token.id = token_id and token.user_id = for_user
  returning * into revoked;
  if not found then
    perform public.refuse('token_not_found', 404);
  end if;
  return jsonb_build_object('success', true, 'revoked_at', revoked.revoked_at);
end
$$;
revoke all on function public.revoke_pat from public, anon, authenticated;
grant execute on function public.revoke_pat to service_role;
