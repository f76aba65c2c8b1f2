-- The worker with this name, made when it is new. Nothing for a claim without a name, and for the names
-- beyond an owner's first 200: such a worker works all the same, but its model is not remembered.
create or replace function public.register_worker(for_worker text, for_owner uuid)
returns public.workers
language plpgsql set search_path = '' as $$
declare
  row_id constant text := public.worker_row_id(for_worker, for_owner);
  worker public.workers;
begin
  select * into worker from public.workers where id = row_id;
  if not found and row_id is not null
     and (for_owner is null or (select count(*) from public.workers where user_id = for_owner) < 200) then
    insert into public.workers (id, user_id, provider)
    values (row_id, for_owner, case when public.is_sandbox_worker(for_worker) then 'sandbox' end) on conflict (id) do nothing;
    select * into worker from public.workers where id = row_id;
  end if;
  return worker;
end
$$;
revoke all on function public.register_worker from public, anon, authenticated;
