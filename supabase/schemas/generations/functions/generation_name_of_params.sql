create or replace function public.generation_name_of_params(params jsonb)
returns text
language plpgsql immutable set search_path = '' as $$
begin
  return left(coalesce(params ->> 'generation_name', params -> 'orchestrator_details' ->> 'generation_name',
                       params -> 'full_orchestrator_payload' ->> 'generation_name'), 300);
end
$$;
revoke all on function public.generation_name_of_params from public, anon, authenticated;
