-- The task with the warnings of its output among its params, for what is made of the output.
create or replace function public.with_warnings(task public.tasks)
returns public.tasks
language plpgsql immutable set search_path = '' as $$
begin
  if task.warnings <> '{}' then
    task.params := task.params || jsonb_build_object('warnings', to_jsonb(task.warnings::text[]));
  end if;
  return task;
end
$$;
revoke all on function public.with_warnings from public, anon, authenticated;
