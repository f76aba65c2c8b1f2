-- What people see of a token.
create or replace function public.token_summary(token public.personal_access_tokens)
returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'id', token.id, 'label', token.label, 'last_four', token.last_four, 'scopes', to_jsonb(token.scopes),
    'created_at', token.created_at, 'expires_at', token.expires_at, 'last_used_at', token.last_used_at,
    'revoked_at', token.revoked_at, 'spend_cap', (
      select jsonb_build_object(
               'cap_credits', cap.cap_microusd / 10000.0, 'cap_microusd', cap.cap_microusd,
               'month', public.spend_month(now()),
               'committed_microusd', case when cap.month = public.spend_month(now()) then cap.committed_microusd else 0 end)
        from public.spend_caps as cap where cap.token_id = token.id))
$$;
revoke all on function public.token_summary from public, anon, authenticated;
