-- The nearest of an orchestrator and those above it that is over; null when none is. A part of one that is over is neither
-- claimed nor given parts of its own: the outbox ends it.
create or replace function public.ended_orchestrator(of_orchestrator uuid)
returns uuid
language plpgsql stable set search_path = '' as $$
declare
  candidate uuid := of_orchestrator;
  known record;
begin
  while candidate is not null loop
    select status, orchestrator_task_id into known from public.tasks where id = candidate;
    if known.status in ('Complete', 'Failed', 'Cancelled') then
      return candidate;
    end if;
    candidate := known.orchestrator_task_id;
  end loop;
  return null;
end
$$;
revoke all on function public.ended_orchestrator from public, anon, authenticated;
