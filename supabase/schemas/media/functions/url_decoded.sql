-- A part of a URL with its escapes read; as it is where they spell no text.
create or replace function public.url_decoded(part text)
returns text
language plpgsql immutable set search_path = '' as $$
begin
  if position('%' in part) = 0 then
    return part;
  end if;
  return (
    select convert_from(string_agg(
             case when piece[1] is not null then decode(piece[1], 'hex') else convert_to(piece[2], 'UTF8') end,
             ''::bytea order by position), 'UTF8')
      from regexp_matches(part, '%([0-9a-fA-F]{2})|([^%]+|%)', 'g') with ordinality as found (piece, position));
exception when character_not_in_repertoire or untranslatable_character then
  return part;
end
$$;
revoke all on function public.url_decoded from public, anon, authenticated;
