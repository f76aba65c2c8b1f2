create trigger end_project_tasks before delete on public.projects
  for each row execute function public.end_project_tasks();
create trigger tasks_leave_queue before delete on public.tasks
  for each row execute function public.leave_queue();
create trigger fail_orphaned_dependant after delete on public.task_dependencies
  for each row execute function public.fail_orphaned_dependant();
create trigger task_types_are_kept before delete or update of name on public.task_types
  for each row execute function public.keep_row();
create trigger task_type_prices_are_kept before delete or update of id on public.task_type_prices
  for each row execute function public.keep_row();
create trigger projects_begin_limited after insert on public.projects
  for each row when (new.max_running_tasks is not null) execute function public.resize_project_slots();
create trigger projects_limit_tasks after update of max_running_tasks on public.projects
  for each row when (old.max_running_tasks is distinct from new.max_running_tasks)
  execute function public.resize_project_slots();
create trigger task_types_limit_tasks after update of max_running_tasks on public.task_types
  for each row when (old.max_running_tasks is distinct from new.max_running_tasks)
  execute function public.resize_task_type_slots();
create trigger users_choose_generation_methods after update of settings on public.users
  for each row when (old.settings is distinct from new.settings)
  execute function public.follow_generation_methods();

-- On Supabase, where no host has a timer. Elsewhere there is no pg_cron, and nothing happens here.
do $$
begin
  if exists (select from pg_available_extensions where name = 'pg_cron') then
    create extension if not exists pg_cron;
    perform cron.schedule('darkroom-tend-queue', '5 seconds', 'select public.tend_queue()');
    perform cron.schedule('darkroom-forget-old-requests', '17 * * * *', 'select public.forget_old_requests()');
  end if;
end
$$;
