-- The image of a shot behind which a segment stands, as params name it.
create or replace function public.pair_of_params(params jsonb, segment integer)
returns text
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(
    params ->> 'pair_shot_generation_id',
    params -> 'individual_segment_params' ->> 'pair_shot_generation_id',
    params -> 'orchestrator_details' -> 'pair_shot_generation_ids' ->> segment,
    params -> 'full_orchestrator_payload' -> 'pair_shot_generation_ids' ->> segment);
end
$$;
revoke all on function public.pair_of_params from public, anon, authenticated;
