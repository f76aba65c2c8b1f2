-- The shot that params name, as they name it; null when they name none.
create or replace function public.shot_of_params(params jsonb)
returns text
language plpgsql immutable set search_path = '' as $$
declare
  details constant jsonb := params -> 'orchestrator_details';
  named constant jsonb := coalesce(
    nullif(params -> 'originalParams' -> 'orchestrator_details' -> 'shot_id', 'null'),
    nullif(details -> 'shot_id', 'null'), nullif(params -> 'shot_id', 'null'),
    nullif(params -> 'full_orchestrator_payload' -> 'shot_id', 'null'), nullif(params -> 'shotId', 'null'));
begin
  -- Some clients send the whole row.
  return case when jsonb_typeof(named) = 'object' then coalesce(named ->> 'id', named ->> 'uuid', '') else named #>> '{}' end;
end
$$;
revoke all on function public.shot_of_params from public, anon, authenticated;
