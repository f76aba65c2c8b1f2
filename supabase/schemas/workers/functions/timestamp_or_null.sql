-- A time as a log line writes it; null when it is none.
create or replace function public.timestamp_or_null(given_text text)
returns timestamptz
language plpgsql stable set search_path = '' set timezone = 'UTC' as $$
begin
  return case when given_text ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d' then left(given_text, 40)::timestamptz end;
exception when datetime_field_overflow or invalid_datetime_format or invalid_text_representation
            or invalid_parameter_value or invalid_time_zone_displacement_value then
  return null;
end
$$;
revoke all on function public.timestamp_or_null from public, anon, authenticated;
