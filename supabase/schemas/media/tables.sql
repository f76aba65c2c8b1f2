-- The buckets. They are data, but the code names them and their policies and the limits below are part of
-- the schema's promises: so they travel by migration, to every installation alike, and can be applied again.
-- The server decides types from the bytes; the list keeps Supabase, which believes the sender's word, from
-- serving pages and scriptable pictures from a public bucket. What nobody can name is octet-stream.
insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types) values
  ('image_uploads', 'image_uploads', true, 209715200, array[
    'image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif', 'image/bmp', 'image/tiff',
    'video/*', 'audio/*', 'application/json', 'application/zip', 'application/octet-stream', 'text/plain'
  ]),
  ('training-data', 'training-data', false, 2147483648, null),
  ('lora_files', 'lora_files', true, 2147483648, array[
    'application/octet-stream', 'application/zip', 'application/json', 'text/plain',
    'image/png', 'image/jpeg', 'image/webp', 'video/mp4'
  ]),
  ('temporary', 'temporary', false, 524288000, null)
on conflict (id) do update
   set public = excluded.public,
       file_size_limit = excluded.file_size_limit,
       allowed_mime_types = excluded.allowed_mime_types;

-- The files that runs write: one row for each path, from before its worker learns it. The service alone reads a file before the row
-- says `delivered_at`, which the completing transaction writes: see is_readable_file(). What no run can deliver any more is deleted:
-- see take_abandoned_files(). Rows outlive their tasks, as files do. Nobody reads the table: it names what is secret.
create table public.output_files (
  path text primary key,
  task_id uuid not null,
  attempt public.natural_number not null,
  created_at timestamptz not null default now(),
  -- Until then an upload URL may write it; null where none was signed.
  upload_until timestamptz,
  -- Since then parts of this running orchestrator read it as their input.
  published_at timestamptz,
  delivered_at timestamptz,
  -- When it is looked at whether a run can deliver it yet; the first time after a worker that lost its lease had time to end.
  check_at timestamptz default now() + interval '15 minutes',
  -- Since then its content may be gone.
  deleting_since timestamptz,
  constraint delivered_files_are_kept check (delivered_at is null or (check_at is null and deleting_since is null))
);
create index output_files_to_check on public.output_files (check_at) where check_at is not null;
create index undelivered_files_by_task on public.output_files (task_id) where delivered_at is null;
