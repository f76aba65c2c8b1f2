-- Makes the files that complete a run readable, in the transaction that charges for it. Files of other tasks, and its owner's uploads,
-- are left as they are.
-- Refuses a file whose deletion has begun; and, where storage would let an upload URL replace it after delivery, one that
-- has such a URL: `output_replaceable`, with all of them in `paths`. The caller completes the run with copies.
create or replace function public.deliver_files(task public.tasks, paths text[])
returns void
language plpgsql set search_path = '' as $$
declare
  own constant text[] := array(
    select distinct path from unnest(paths) as path
     where starts_with(path, format('%s/tasks/%s/', task.user_id, task.id)) order by path);
  replaceable text[];
  delivered integer;
begin
  if cardinality(own) > 0 and not public.keeps_finished_files() then
    replaceable := array(select file.path from public.output_files as file
                          where file.path = any (own) and file.upload_until > now() order by file.path);
    if cardinality(replaceable) > 0 then
      perform public.refuse('output_replaceable', 409, jsonb_build_object('paths', replaceable));
    end if;
  end if;
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
