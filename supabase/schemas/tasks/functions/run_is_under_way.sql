-- Whether a task with this key waits for a worker, or runs. Who asks under the tenant's lock knows it until they commit,
-- for nobody else begins such a run or gives one up without that lock.
create or replace function public.run_is_under_way(for_project uuid, for_key bytea)
returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return exists (
    select from public.tasks
     where project_id = for_project and result_key = for_key and not is_following
       and status in ('Queued', 'In Progress'));
end
$$;
revoke all on function public.run_is_under_way from public, anon, authenticated;
