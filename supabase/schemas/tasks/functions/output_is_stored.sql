-- Whether a file is in storage, of those that this task may be completed with: its own, its owner's uploads, and
-- files that complete tasks of its project delivered (an orchestrator passes on what a child made). A complete task's
-- files stay as they are; another's may still be replaced. What is out of reach is refused, there or not.
create or replace function public.output_is_stored(task public.tasks, path text)
returns boolean
language plpgsql stable set search_path = '' as $$
declare
  segments constant text[] := string_to_array(path, '/');
  maker_status public.task_status;
begin
  if segments[1] <> task.user_id::text or array_length(segments, 1) < 3 then
    perform public.refuse('forbidden', 403, jsonb_build_object('path', path));
  end if;
  if segments[2] = 'tasks' and segments[3] <> task.id::text then
    if segments[3] ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then
      select maker.status into maker_status from public.all_tasks as maker
       where maker.id = segments[3]::uuid and maker.project_id = task.project_id limit 1;
    end if;
    if maker_status is null then
      perform public.refuse('forbidden', 403, jsonb_build_object('path', path));
    elsif maker_status <> 'Complete' then
      perform public.refuse('output_not_final', 409, jsonb_build_object('path', path));
    end if;
  end if;
  return (maker_status is null or public.is_readable_file('image_uploads', path))
    and exists (select from storage.objects where bucket_id = 'image_uploads' and name = path);
end
$$;
revoke all on function public.output_is_stored from public, anon, authenticated;
