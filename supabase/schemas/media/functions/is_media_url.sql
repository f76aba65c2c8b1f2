-- Whether an output is a picture, a film or a sound that can be shown: an http(s) URL whose path ends in the
-- name of such a file. Nothing is fetched to find out.
create or replace function public.is_media_url(location text)
returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return location ~* ('^https?://[^/?#[:space:]]+/[^?#[:space:]]*\.'
    || '(png|jpe?g|gif|webp|avif|bmp|tiff?|heic|mp4|m4v|mov|webm|mkv|avi|mp3|wav|m4a|ogg|flac)([?#][^[:space:]]*)?$');
end
$$;
revoke all on function public.is_media_url from public, anon, authenticated;
