-- Whether a run is the sandbox's: the sandbox names its workers so, on every host.
create or replace function public.is_sandbox_worker(worker_id text)
returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(starts_with(worker_id, 'sandbox-'), false);
end
$$;
revoke all on function public.is_sandbox_worker from public, anon, authenticated;
