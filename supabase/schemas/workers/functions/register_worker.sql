-- The worker with this id, made when it is new. A row of somebody else (an owner's, or the cloud's) is left
-- alone and not answered, like a worker without an id: ids are chosen by workers, and two people may choose the same.
create or replace function public.register_worker(for_worker text, for_user uuid)
returns public.workers
language plpgsql set search_path = '' as $$
declare
  worker public.workers;
begin
  if for_worker is null then
    return null;
  end if;
  select * into worker from public.workers where id = for_worker;
  if not found then
    insert into public.workers (id, user_id) values (for_worker, for_user) on conflict (id) do nothing;
    select * into worker from public.workers where id = for_worker;
  end if;
  if worker.user_id is distinct from for_user then
    return null;
  end if;
  return worker;
end
$$;
revoke all on function public.register_worker from public, anon, authenticated;
