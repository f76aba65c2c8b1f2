-- A worker that has ended has no running tasks, whoever said that it has: itself, or an autoscaler over REST.
create or replace function public.rescue_tasks_of_ended_worker()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform public.rescue_worker_tasks(
    case when new.user_id is null then new.id else substr(new.id, length(new.user_id || ':') + 1) end,
    new.user_id, 'worker_' || new.status);
  return null;
end
$$;
revoke all on function public.rescue_tasks_of_ended_worker from public, anon, authenticated;
