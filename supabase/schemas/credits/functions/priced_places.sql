-- The objects within params in which workers look for a parameter, in their order; '' is params itself.
create or replace function public.priced_places(for_task_type text)
returns text[]
language plpgsql immutable set search_path = '' as $$
begin
  return case for_task_type
    -- Its worker lays the details over the rest.
    when 'wan_2_2_i2v' then array['orchestrator_details', '', 'individual_segment_params', 'full_orchestrator_payload']
    else array['individual_segment_params', '', 'orchestrator_details', 'full_orchestrator_payload'] end;
end
$$;
revoke all on function public.priced_places from public, anon, authenticated;
