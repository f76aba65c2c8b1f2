-- The generation that an output is a version of, as params name it.
create or replace function public.based_on_of_params(params jsonb)
returns text
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(
    params ->> 'based_on',
    params -> 'originalParams' -> 'orchestrator_details' ->> 'based_on',
    params -> 'orchestrator_details' ->> 'based_on',
    params -> 'full_orchestrator_payload' ->> 'based_on',
    params -> 'originalParams' ->> 'based_on');
end
$$;
revoke all on function public.based_on_of_params from public, anon, authenticated;
