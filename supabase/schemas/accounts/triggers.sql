create trigger welcome_new_user after insert on auth.users
  for each row execute function public.welcome_new_user();
create trigger welcome_confirmed_user after update of email_confirmed_at, is_anonymous on auth.users
  for each row when (new.email_confirmed_at is not null and not coalesce(new.is_anonymous, false))
  execute function public.welcome_new_user();
