-- An archived task in the shape that it had in the queue, for the answers to repeated calls; else no row.
create or replace function public.archived_task(for_task uuid)
returns setof public.tasks
language sql stable set search_path = '' as $$
  select (jsonb_populate_record(null::public.tasks, to_jsonb(archived))).*
    from public.archived_tasks as archived where archived.id = for_task
$$;
revoke all on function public.archived_task from public, anon, authenticated;
