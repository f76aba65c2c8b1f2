-- Makes everything a new person needs, once: the user row, an account, a place in the queue and the welcome bonus, as soon
-- as there is a right to it. Repeating it changes nothing.
create or replace function public.create_user_record(
  for_user uuid, user_email text, user_metadata jsonb, is_anonymous boolean
) returns void
language plpgsql set search_path = '' as $$
begin
  insert into public.users (id, email, name)
  values (
    for_user, user_email,
    left(coalesce(user_metadata ->> 'full_name', user_metadata ->> 'name', user_email, 'User'), 200)
  )
  on conflict (id) do nothing;
  perform public.open_credit_account(for_user);
  perform public.register_tenant(for_user);
  if not is_anonymous and public.welcome_bonus_refusal(for_user) is null then
    begin
      perform public.grant_welcome_bonus(for_user);
    exception
      -- Another spelling of the address had it a moment before: that is no reason to turn the person away.
      when sqlstate 'PT409' then
        null;
    end;
  end if;
end
$$;
revoke all on function public.create_user_record from public, anon, authenticated;
