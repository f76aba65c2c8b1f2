-- A user's tokens, newest first, live and ended; never more than the newest 200.
create or replace function public.list_pats(for_user uuid)
returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object('tokens', coalesce(jsonb_agg(public.token_summary(token) order by token.created_at desc), '[]'))
    from (select * from public.personal_access_tokens as newest
           where newest.user_id = for_user order by newest.created_at desc limit 200) as token
$$;
revoke all on function public.list_pats from public, anon, authenticated;
grant execute on function public.list_pats to service_role;
