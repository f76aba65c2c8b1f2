-- On a table that is the platform's: where it does not let us, a signed upload URL stays good until it expires.
do $$
begin
  create or replace trigger keep_finished_files before insert or update of bucket_id, name, version
    on storage.objects for each row execute function public.keep_finished_files();
exception when insufficient_privilege then
  raise warning 'files of finished tasks can be replaced until their upload URLs expire: %', sqlerrm;
end
$$;
