-- What stands for the bytes behind a URL: where it leads, and a hash of the file or the id of its bytes. The same file under
-- two names is the same, one that was replaced another. Null for what is not in storage, where nobody knows what it holds, and
-- for what this user may not read.
create or replace function public.content_of_url(for_user uuid, url text)
returns text
language plpgsql stable set search_path = '' as $$
declare
  parts constant text[] := regexp_match(url,
    '^(https?://[A-Za-z0-9.:\[\]-]+)/storage/v1/object/(?:public/|sign/|authenticated/)?([a-z_-]+)/([^?#]+)');
begin
  return (
    select '<' || parts[1] || ' '
           || coalesce((file.metadata ->> 'eTag') || ' ' || (file.metadata ->> 'size'), file.version) || '>'
      from storage.objects as file join storage.buckets as bucket on bucket.id = file.bucket_id
     where file.bucket_id = parts[2] and file.name = public.url_decoded(parts[3])
       and (bucket.public or split_part(file.name, '/', 1) = for_user::text)
       and public.is_readable_file(file.bucket_id, file.name));
end
$$;
revoke all on function public.content_of_url from public, anon, authenticated;
