-- What an orchestrator handed to its parts stays when it completes: their params name it.
create or replace function public.keep_published_files(for_task uuid)
returns void
language sql set search_path = '' as $$
  update public.output_files
     set delivered_at = now(), check_at = null
   where task_id = for_task and published_at is not null and delivered_at is null and deleting_since is null
$$;
revoke all on function public.keep_published_files from public, anon, authenticated;
