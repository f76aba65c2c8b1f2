-- A person's files are those under their own id. Public buckets are read by URL, which asks no policy; to
-- list, sign or change files is for their owner. The service key is held back by none of this.
-- What runs of tasks write is nobody's but the service's until it is delivered: is_readable_file().
alter table public.output_files enable row level security;
revoke all on public.output_files from anon, authenticated, service_role;

drop policy if exists media_select_own on storage.objects;
create policy media_select_own on storage.objects for select to authenticated
  using (
    bucket_id in ('image_uploads', 'training-data', 'lora_files', 'temporary')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
    and public.is_readable_file(bucket_id, name)
  );

drop policy if exists media_delete_own on storage.objects;
create policy media_delete_own on storage.objects for delete to authenticated
  using (
    bucket_id in ('image_uploads', 'training-data', 'lora_files', 'temporary')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
    and public.is_readable_file(bucket_id, name)
  );

-- Outputs of tasks come by signed URL alone: what `tasks/` holds was made by the worker that says so.
drop policy if exists media_insert_own on storage.objects;
create policy media_insert_own on storage.objects for insert to authenticated
  with check (
    bucket_id in ('image_uploads', 'training-data', 'lora_files', 'temporary')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
    and (storage.foldername(name))[2] is distinct from 'tasks'
  );

drop policy if exists media_update_own on storage.objects;
create policy media_update_own on storage.objects for update to authenticated
  using (
    bucket_id in ('image_uploads', 'training-data', 'lora_files', 'temporary')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
    and (storage.foldername(name))[2] is distinct from 'tasks'
  )
  with check (
    bucket_id in ('image_uploads', 'training-data', 'lora_files', 'temporary')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
    and (storage.foldername(name))[2] is distinct from 'tasks'
  );
