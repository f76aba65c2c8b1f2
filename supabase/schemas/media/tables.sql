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
