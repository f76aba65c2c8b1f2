-- Called by browsers after sign-in, for accounts older than the trigger on sign-up.
create or replace function public.create_user_record_if_not_exists()
returns void
language plpgsql security definer set search_path = '' as $$
declare
  person auth.users;
begin
  select * into person from auth.users where id = auth.uid();
  if found then
    perform public.create_user_record(
      person.id, person.email, person.raw_user_meta_data, coalesce(person.is_anonymous, false));
  end if;
end
$$;
revoke all on function public.create_user_record_if_not_exists from public, anon, authenticated;
grant execute on function public.create_user_record_if_not_exists to authenticated;
