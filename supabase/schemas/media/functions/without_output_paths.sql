-- A text without the random parts of output paths, whole or cut short, and without signed tokens, which hold the path they are for.
-- Workers quote refusals and URLs in what they report.
create or replace function public.without_output_paths(said text)
returns text
language sql immutable set search_path = '' as $$
  select regexp_replace(regexp_replace(regexp_replace(said,
           '(\d{1,9}-)[0-9a-f]{32}(?![0-9a-f])', '\1…', 'g'),
           '(/\d{1,9}-)[0-9a-f]{5,31}(?![0-9a-f])', '\1…', 'g'),
           'eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*){0,2}', '…', 'g')
$$;
revoke all on function public.without_output_paths from public, anon, authenticated;
