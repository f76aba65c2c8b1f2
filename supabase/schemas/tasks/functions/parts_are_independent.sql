-- Whether the segments of a travel stand each for itself: then no stitch makes one of them.
create or replace function public.parts_are_independent(orchestrator public.tasks)
returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(orchestrator.params -> 'orchestrator_details' -> 'independent_segments',
                  orchestrator.params -> 'independent_segments', 'true') <> 'false';
end
$$;
revoke all on function public.parts_are_independent from public, anon, authenticated;
