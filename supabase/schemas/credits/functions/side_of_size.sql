-- A side of a size that was sent as two numbers; null for what is not a whole number.
create or replace function public.side_of_size(sent jsonb)
returns text
language plpgsql immutable set search_path = '' as $$
begin
  return case when jsonb_typeof(sent) = 'number' and sent::numeric between 1 and 16384
    then trim_scale(sent::numeric)::text end;
end
$$;
revoke all on function public.side_of_size from public, anon, authenticated;
