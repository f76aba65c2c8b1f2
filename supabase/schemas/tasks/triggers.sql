create trigger tasks_leave_queue before delete on public.tasks
  for each row execute function public.leave_queue();
create trigger users_choose_cloud after update of settings on public.users
  for each row when (old.settings is distinct from new.settings)
  execute function public.follow_cloud_choice();
