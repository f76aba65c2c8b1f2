-- The newest run of a project with this key whose output is still there and not too old, archived or not; else null.
create or replace function public.find_result(for_project uuid, for_key bytea)
returns public.tasks
language plpgsql stable set search_path = '' as $$
declare
  oldest constant timestamptz := (select now() - reuse_results_for from public.queue_settings);
  result public.tasks;
begin
  select run.* into result
    from (select * from public.tasks
           where project_id = for_project and result_key = for_key and status = 'Complete'
           order by created_at desc limit 10) as run
   where run.generation_processed_at > oldest
     and exists (select from storage.objects
                  where bucket_id = 'image_uploads' and name = run.result_data ->> 'storage_path')
   order by run.created_at desc limit 1;
  if not found then
    select found_run.* into result
      from (select * from public.archived_tasks
             where project_id = for_project and result_key = for_key and status = 'Complete'
             order by created_at desc limit 10) as run,
           lateral public.archived_task(run.id) as found_run
     where run.generation_processed_at > oldest
       and exists (select from storage.objects
                    where bucket_id = 'image_uploads' and name = run.result_data ->> 'storage_path')
     order by run.created_at desc limit 1;
  end if;
  return result;
end
$$;
revoke all on function public.find_result from public, anon, authenticated;
