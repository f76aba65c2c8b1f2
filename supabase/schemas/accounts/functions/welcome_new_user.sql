create or replace function public.welcome_new_user()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform public.create_user_record(
    new.id, new.email, new.raw_user_meta_data, coalesce(new.is_anonymous, false));
  return null;
end
$$;
revoke all on function public.welcome_new_user from public, anon, authenticated;
