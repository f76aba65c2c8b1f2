-- Says when a row was last changed, whoever changes it.
create or replace function public.note_update()
returns trigger
language plpgsql set search_path = '' as $$
begin
  new.updated_at := now();
  return new;
end
$$;
revoke all on function public.note_update from public, anon, authenticated;
