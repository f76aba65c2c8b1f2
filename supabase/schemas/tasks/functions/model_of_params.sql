-- The model that a worker needs for these params: what decides which warm worker it suits.
create or replace function public.model_of_params(params jsonb)
returns text
language plpgsql immutable set search_path = '' as $$
begin
  return left(nullif(trim(coalesce(
    case when jsonb_typeof(params -> 'model_name') = 'string' then params ->> 'model_name' end,
    case when jsonb_typeof(params -> 'orchestrator_details' -> 'model_name') = 'string'
         then params -> 'orchestrator_details' ->> 'model_name' end,
    case when jsonb_typeof(params -> 'model') = 'string' then params ->> 'model' end)), ''), 200);
end
$$;
revoke all on function public.model_of_params from public, anon, authenticated;
