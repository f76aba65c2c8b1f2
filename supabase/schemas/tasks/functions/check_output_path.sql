-- A task's files lie in its own folder. A foreign path is refused like a missing one would be, without a
-- look into storage.
create or replace function public.check_output_path(task public.tasks, path text)
returns void
language plpgsql stable set search_path = '' as $$
begin
  if not starts_with(path, format('%s/tasks/%s/', task.user_id, task.id)) then
    perform public.refuse('forbidden', 403, jsonb_build_object('path', path));
  end if;
  if not exists (select from storage.objects where bucket_id = 'image_uploads' and name = path) then
    perform public.refuse('output_not_found', 404, jsonb_build_object('path', path));
  end if;
end
$$;
revoke all on function public.check_output_path from public, anon, authenticated;
