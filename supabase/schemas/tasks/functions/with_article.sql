-- A noun of a message: "a video", "an image".
create or replace function public.with_article(noun text)
returns text
language sql immutable set search_path = '' as $$
  select case when noun ~ '^[aeiou]' then 'an ' else 'a ' end || noun
$$;
revoke all on function public.with_article from public, anon, authenticated;
