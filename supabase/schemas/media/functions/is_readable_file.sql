-- Whether others than the service may read a file, as far as its bucket and its policies let them: true for whatever is not under a
-- task's folder, and there for what a completed run delivered or a running orchestrator handed to its parts. Storage asks it for
-- each list, download, signature, copy, move and deletion, and the standalone host for public URLs too.
create or replace function public.is_readable_file(for_bucket text, for_name text)
returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  return for_bucket <> 'image_uploads'
    or split_part(for_name, '/', 2) <> 'tasks'
    or exists (select from public.output_files as file
                where file.path = for_name and file.deleting_since is null
                  and (file.delivered_at is not null or file.published_at is not null));
end
$$;
revoke all on function public.is_readable_file from public, anon, authenticated;
-- As whom policies are asked.
grant execute on function public.is_readable_file to authenticated;
