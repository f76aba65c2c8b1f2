-- Refuses a checkout that is not this user's; foreign and unknown are the same 404.
create or replace function public.find_checkout(for_user uuid, session_id text)
returns void
language plpgsql stable security definer set search_path = '' as $$
begin
  if not exists (select from public.checkout_sessions where id = session_id and user_id = for_user) then
    perform public.refuse('checkout_not_found', 404);
  end if;
end
$$;
revoke all on function public.find_checkout from public, anon, authenticated;
grant execute on function public.find_checkout to service_role;
