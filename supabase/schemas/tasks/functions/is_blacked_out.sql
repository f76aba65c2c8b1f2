-- Whether a provider's safety checker made an output black: it is flagged, and the checker was not switched off, as _shared/worker/fal
-- reads that. With the checker off, a flagged output is a picture like any other.
create or replace function public.is_blacked_out(params jsonb, facts jsonb)
returns boolean
language sql immutable set search_path = '' as $$
  select coalesce(facts -> 'has_nsfw_concepts' = 'true', false)
    and params -> 'enable_safety_checker' is distinct from 'false'
$$;
revoke all on function public.is_blacked_out from public, anon, authenticated;
