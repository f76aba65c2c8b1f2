-- Notes that the content of marked files was deleted. A row goes when no upload URL can write its path any more. Until
-- then it stays, so that content that comes late, on an installation without keep_finished_files(), is deleted as well.
create or replace function public.forget_abandoned_files(paths text[])
returns void
language plpgsql security definer set search_path = '' as $$
begin
  delete from public.output_files
   where path = any (paths) and deleting_since is not null and coalesce(upload_until <= now(), true);
  update public.output_files
     set check_at = upload_until
   where path = any (paths) and deleting_since is not null;
end
$$;
revoke all on function public.forget_abandoned_files from public, anon, authenticated;
grant execute on function public.forget_abandoned_files to service_role;
