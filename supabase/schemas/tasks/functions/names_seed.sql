-- Whether params say which seed to use, in all places where they speak of one; without, each run is to make something new.
create or replace function public.names_seed(params jsonb)
returns boolean
language plpgsql immutable set search_path = '' as $$
declare
  details constant jsonb := params -> 'orchestrator_details';
begin
  return coalesce((
    select bool_and(seed ~ '^\d{1,20}$')
      from unnest(array[
        params ->> 'seed', params ->> 'seed_to_use', params ->> 'seed_base',
        details ->> 'seed', details ->> 'seed_to_use', details ->> 'seed_base']) as seed
     where seed is not null), false)
    and params -> 'random_seed' is distinct from 'true' and details -> 'random_seed' is distinct from 'true';
end
$$;
revoke all on function public.names_seed from public, anon, authenticated;
