-- The rest of what create_task() does, for a row that was written over REST. After the insert, so for rows that there are.
create or replace function public.queue_direct_task()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  task public.tasks := new;
begin
  if new.reused_task_id is not null then
    task := public.with_reused_output(task);
    update public.tasks set generation_created = task.generation_created, result_data = task.result_data
     where id = task.id;
  end if;
  perform public.enter_queue(task);
  return null;
end
$$;
revoke all on function public.queue_direct_task from public, anon, authenticated;
