-- What read_quantity() reads, in words, where a price lists no values.
create or replace function public.quantity_forms(quantity text)
returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return case quantity
    when 'images' then '["a whole number from 1 to 16"]'
    when 'frames' then '["a whole number from 1 to 100000"]'
    when 'gap_frames' then '["a whole number from 0 to 1000"]'
    when 'context_frames' then '["a whole number from 0 to 1000"]'
    when 'seconds' then '["a number above 0, up to 3600"]'
    when 'scale' then '["a number from 1"]'
    else '["WIDTHxHEIGHT with sides from 1 to 16384"]' end::jsonb;
end
$$;
revoke all on function public.quantity_forms from public, anon, authenticated;
