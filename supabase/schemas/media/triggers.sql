-- On a table that is the platform's: where it does not let us, a signed upload URL stays good until it expires.
-- Users' writes into tasks' folders are refused by policy, which comes after triggers: without the condition they would lock others'
-- tasks, and learn which are finished.
do $$
begin
  create or replace trigger keep_finished_files before insert or update of bucket_id, name, version
    on storage.objects for each row when (current_user not in ('anon', 'authenticated'))
    execute function public.keep_finished_files();
exception when insufficient_privilege then
  raise warning 'files of finished tasks can be replaced until their upload URLs expire: %', sqlerrm;
end
$$;

create trigger withhold_output_paths before update of output_location, progress_message, error_message, error_details
  on public.tasks for each row when (new.status <> 'Complete') execute function public.hide_output_paths();

-- On Supabase, where no host has a timer: files are deleted by a function, through the storage service.
do $$
begin
  if exists (select from pg_available_extensions where name = 'pg_cron')
     and exists (select from pg_available_extensions where name = 'pg_net') then
    create extension if not exists pg_cron;
    create extension if not exists pg_net;
    perform cron.schedule('darkroom-delete-abandoned-files', '*/5 * * * *', 'select public.request_file_deletion()');
  end if;
end
$$;
