-- A worker's status once it has said one of itself. Its own word counts, and it may take that back: a worker that
-- crashed or was shut down comes back with its first heartbeat. What an operator said stays, whatever late
-- heartbeats say; only the end of a worker that is terminating is believed.
create or replace function public.status_after_heartbeat(worker public.workers, said text)
returns text
language sql immutable set search_path = '' as $$
  select case
    when not public.operator_decided(worker) then said
    when worker.status = 'terminating' and said in ('crashed', 'terminated') then 'terminated'
    else worker.status
  end
$$;
revoke all on function public.status_after_heartbeat from public, anon, authenticated;
