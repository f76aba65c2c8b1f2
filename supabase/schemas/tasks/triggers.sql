-- In this order: the first leaves a large project to the outbox, and the second does not run then.
create trigger delete_large_project before delete on public.projects
  for each row when (current_user in ('authenticated', 'service_role')) execute function public.delete_large_project();
create trigger end_project_tasks before delete on public.projects
  for each row execute function public.end_project_tasks();
create trigger tasks_leave_queue before delete on public.tasks
  for each row execute function public.leave_queue();
create trigger tasks_forget_output after delete on public.tasks
  for each row when (old.generation_created) execute function public.forget_output();
create trigger tasks_end_uncovered_parts after delete on public.tasks
  for each row when (old.is_orchestrator) execute function public.end_uncovered_parts();
create trigger release_followers_of_deleted after delete on public.tasks
  for each row when (old.result_key is not null and not old.is_following and old.status in ('Queued', 'In Progress'))
  execute function public.release_followers_of_deleted();
create trigger count_dependant after insert or delete or update of is_waiting on public.task_dependencies
  for each row execute function public.count_dependant();
create trigger announce_outbox after insert on public.task_outbox
  for each statement execute function public.announce_outbox();
create trigger fail_orphaned_dependant after delete on public.task_dependencies
  for each row when (old.is_waiting) execute function public.fail_orphaned_dependant();
create trigger plan_direct_task before insert on public.tasks
  for each row when (current_user in ('authenticated', 'service_role')) execute function public.plan_direct_task();
create trigger queue_direct_task after insert on public.tasks
  for each row when (current_user in ('authenticated', 'service_role')) execute function public.queue_direct_task();
create trigger plan_direct_change before update on public.tasks
  for each row when (current_user in ('authenticated', 'service_role')) execute function public.plan_direct_change();
create trigger follow_direct_change after update on public.tasks
  for each row when (current_user in ('authenticated', 'service_role')) execute function public.follow_direct_change();
create trigger count_task after insert or delete or update of status, unmet_dependencies, is_scheduled, lane_id
  on public.tasks for each row execute function public.count_task();
create trigger announce_new_lane after insert on public.task_lanes
  for each row when (new.is_ready) execute function public.announce_lane();
create trigger announce_lane after update of is_ready, is_open, is_late on public.task_lanes
  for each row when ((new.is_ready and not old.is_ready) or (new.is_open and not old.is_open)
                     or (new.is_late and not old.is_late and new.is_open))
  execute function public.announce_lane();
create trigger task_types_are_kept before delete or update of name on public.task_types
  for each row execute function public.keep_row();
create trigger task_type_prices_are_kept before delete or update on public.task_type_prices
  for each row execute function public.keep_row();
create trigger provider_prices_are_kept before delete or update on public.provider_prices
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
    perform cron.schedule('darkroom-settle-followers', '2 seconds', 'select public.settle_followers()');
    perform cron.schedule('darkroom-run-task-outbox', '1 second', 'select public.run_task_outbox(200)');
    perform cron.schedule('darkroom-archive-finished-tasks', '10 seconds', 'select public.archive_finished_tasks()');
    perform cron.schedule('darkroom-forget-old-requests', '17 * * * *', 'select public.forget_old_requests()');
    perform cron.schedule('darkroom-tidy-counts', '27 * * * *', 'select public.tidy_counts()');
    perform cron.schedule('darkroom-expire-due-grants', '10 seconds', 'select public.expire_due_grants()');
    perform cron.schedule('darkroom-tend-paid-calls', '10 seconds', 'select public.tend_paid_calls()');
    perform cron.schedule('darkroom-give-up-old-tasks', '37 * * * *', 'select public.give_up_old_tasks()');
    perform cron.schedule('darkroom-grow-due-holds', '2 seconds', 'select public.grow_due_holds()');
    perform cron.schedule('darkroom-end-uncovered-runs', '2 seconds', 'select public.end_uncovered_runs()');
    perform cron.schedule('darkroom-settle-overdue-withdrawals', '10 seconds', 'select public.settle_overdue_withdrawals()');
    if exists (select from pg_available_extensions where name = 'pg_net') then
      create extension if not exists pg_net;
      perform cron.schedule('darkroom-withdraw-provider-jobs', '5 seconds', 'select public.request_provider_withdrawals()');
      perform cron.schedule('darkroom-run-provider-tasks', '10 seconds', 'select public.request_provider_runs()');
    end if;
  end if;
end
$$;
