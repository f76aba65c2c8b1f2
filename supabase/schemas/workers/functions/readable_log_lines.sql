-- Lines of log, a JSON array as text, as PostgreSQL can hold them: NUL characters are left out, a line with
-- anything else that it cannot hold is null. Null when it is no array at all.
create or replace function public.readable_log_lines(lines text)
returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  -- The one character that is common in what programs print.
  without_nul constant text := regexp_replace(lines, '(?<!\\)((?:\\\\)*)\\u0000', '\1', 'g');
  line json;
  entries jsonb := '[]';
begin
  begin
    entries := without_nul::jsonb;
    return case when jsonb_typeof(entries) = 'array' then entries end;
  exception when data_exception or program_limit_exceeded then
    entries := '[]';
  end;
  for line in select * from json_array_elements(without_nul::json) limit 1000 loop
    begin
      entries := entries || jsonb_build_array(line::jsonb);
    exception when data_exception or program_limit_exceeded then
      entries := entries || '[null]';
    end;
  end loop;
  return entries;
exception when data_exception or program_limit_exceeded then
  return null;
end
$$;
revoke all on function public.readable_log_lines from public, anon, authenticated;
