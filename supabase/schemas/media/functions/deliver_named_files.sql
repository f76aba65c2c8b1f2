-- Makes those files of a task readable that the text of its output names: a worker's own record of what it made. For a task that
-- is complete, or becomes it in this transaction.
create or replace function public.deliver_named_files(for_task uuid, output_text text)
returns void
language plpgsql set search_path = '' as $$
begin
  if position(format('/tasks/%s/', for_task) in output_text) > 0 then
    update public.output_files
       set delivered_at = now(), check_at = null
     where task_id = for_task and delivered_at is null and deleting_since is null and position(path in output_text) > 0;
  end if;
end
$$;
revoke all on function public.deliver_named_files from public, anon, authenticated;
