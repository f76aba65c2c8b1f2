-- A task as it is when it ends with the output of an earlier run, of which its own generation or variant is made here; the
-- row is not written yet.
create or replace function public.reuse_result(task public.tasks, result public.tasks)
returns public.tasks
language plpgsql set search_path = '' as $$
begin
  return public.with_reused_output(public.as_reused(task, result));
end
$$;
revoke all on function public.reuse_result from public, anon, authenticated;
