-- Whether storage refuses to replace files of finished tasks. Supabase may not have let the migration make the trigger.
create or replace function public.keeps_finished_files()
returns boolean
language sql stable set search_path = '' as $$
  select exists (select from pg_catalog.pg_trigger
                  where tgrelid = 'storage.objects'::regclass and tgname = 'keep_finished_files' and tgenabled <> 'D')
$$;
revoke all on function public.keeps_finished_files from public, anon, authenticated;
