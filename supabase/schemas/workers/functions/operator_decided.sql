-- Whether a worker's status is an operator's word (an autoscaler's, over REST) that heartbeats must not change.
create or replace function public.operator_decided(worker public.workers)
returns boolean
language sql immutable set search_path = '' as $$
  select worker.status in ('error', 'terminating', 'terminated')
     and worker.status is distinct from worker.own_status
     -- The shipped worker reports its own fatal error like an operator would.
     and not (worker.status = 'error' and worker.metadata @> '{"self_terminated": true}')
$$;
revoke all on function public.operator_decided from public, anon, authenticated;
