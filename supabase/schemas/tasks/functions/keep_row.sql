-- Refuses to delete or change what tasks speak of without a foreign key.
create or replace function public.keep_row()
returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'rows of % are kept: tasks refer to them', tg_table_name using errcode = 'foreign_key_violation';
end
$$;
revoke all on function public.keep_row from public, anon, authenticated;
