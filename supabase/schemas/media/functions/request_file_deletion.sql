-- On Supabase, by pg_cron: has the function `delete-abandoned-files` look, where there is something to look at.
create or replace function public.request_file_deletion()
returns void
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.output_files where check_at <= now()) then
    perform public.call_edge_function('delete-abandoned-files');
  end if;
end
$$;
revoke all on function public.request_file_deletion from public, anon, authenticated;
