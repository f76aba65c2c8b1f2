-- Notes that the content of marked files was deleted. A row goes when no upload URL for its path can be valid: URLs last two hours,
-- and an upload takes its time. Until then the row stays, so that content that comes late, on an installation without
-- keep_finished_files(), is deleted as well.
create or replace function public.forget_abandoned_files(paths text[])
returns void
language plpgsql security definer set search_path = '' as $$
declare
  uploads_last constant interval := '3 hours';
begin
  delete from public.output_files
   where path = any (paths) and deleting_since is not null and created_at < now() - uploads_last;
  update public.output_files
     set check_at = created_at + uploads_last
   where path = any (paths) and deleting_since is not null;
end
$$;
revoke all on function public.forget_abandoned_files from public, anon, authenticated;
grant execute on function public.forget_abandoned_files to service_role;
