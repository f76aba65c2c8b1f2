create trigger end_project_tasks before delete on public.projects
  for each row execute function public.end_project_tasks();
create trigger tasks_leave_queue before delete on public.tasks
  for each row execute function public.leave_queue();
create trigger tasks_forget_output after delete on public.tasks
  for each row when (old.generation_created) execute function public.forget_output();
create trigger fail_orphaned_dependant after delete on public.task_dependencies
  for each row execute function public.fail_orphaned_dependant();
create trigger users_choose_cloud after update of settings on public.users
  for each row when (old.settings is distinct from new.settings)
  execute function public.follow_cloud_choice();

-- On Supabase, where no host has a timer. Elsewhere there is no pg_cron, and nothing happens here.
do $$
begin
  if exists (select from pg_available_extensions where name = 'pg_cron') then
    create extension if not exists pg_cron;
    perform cron.schedule('darkroom-sweep-expired-leases', '15 seconds', 'select public.sweep_expired_leases()');
    perform cron.schedule('darkroom-archive-finished-tasks', '10 seconds', 'select public.archive_finished_tasks()');
    perform cron.schedule('darkroom-forget-old-requests', '17 * * * *', 'select public.forget_old_requests()');
  end if;
end
$$;
