-- The id of a worker's row: as it calls itself in the cloud, behind its owner's id elsewhere.
create or replace function public.worker_row_id(for_worker text, for_owner uuid)
returns text
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(for_owner || ':', '') || for_worker;
end
$$;
revoke all on function public.worker_row_id from public, anon, authenticated;
