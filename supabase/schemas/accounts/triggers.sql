create trigger welcome_new_user after insert on auth.users
  for each row execute function public.welcome_new_user();
