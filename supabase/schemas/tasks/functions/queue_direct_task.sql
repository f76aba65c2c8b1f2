-- The rest of what create_task() does, for a row that was written over REST.
create or replace function public.queue_direct_task()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform public.enter_queue(new);
  return null;
end
$$;
revoke all on function public.queue_direct_task from public, anon, authenticated;
