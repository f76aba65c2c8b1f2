-- Makes the files of a completing run readable, in the transaction that charges for it: those that it is completed with, and those
-- of its own that the text of its output names. Files of other tasks, and its owner's uploads, are left as they are.
-- Refuses a file whose deletion has begun.
create or replace function public.deliver_files(task public.tasks, paths text[], output_text text default null)
returns void
language plpgsql set search_path = '' as $$
declare
  own constant text[] := array(
    select distinct path from unnest(paths) as path
     where starts_with(path, format('%s/tasks/%s/', task.user_id, task.id))
    union
    select file.path from public.output_files as file
     where file.task_id = task.id and file.delivered_at is null and position(file.path in output_text) > 0
     order by 1);
  delivered integer;
begin
  insert into public.output_files as file (path, task_id, attempt, delivered_at, check_at)
  select path, task.id, task.attempt, now(), null from unnest(own) as path
  on conflict (path) do update
     set delivered_at = coalesce(file.delivered_at, excluded.delivered_at), check_at = null
   where file.deleting_since is null;
  get diagnostics delivered = row_count;
  if delivered <> cardinality(own) then
    perform public.refuse('output_not_found', 404, jsonb_build_object('path', (
      select file.path from public.output_files as file
       where file.path = any (own) and file.deleting_since is not null order by file.path limit 1)));
  end if;
end
$$;
revoke all on function public.deliver_files from public, anon, authenticated;
