-- Whenever a statement says that a worker has ended, also when its row said so before: it may have claimed since.
create trigger workers_end after insert or update of status on public.workers
  for each row when (new.status in ('crashed', 'terminated', 'error'))
  execute function public.rescue_tasks_of_ended_worker();

-- On Supabase, where no host has a timer. Elsewhere there is no pg_cron, and nothing happens here.
do $$
begin
  if exists (select from pg_available_extensions where name = 'pg_cron') then
    create extension if not exists pg_cron;
    perform cron.schedule('darkroom-mark-silent-workers', '* * * * *', 'select public.mark_silent_workers()');
    perform cron.schedule('darkroom-forget-old-logs', '23 * * * *', 'select public.forget_old_logs()');
  end if;
end
$$;
