-- The time in a task_cursor(); null of null.
create or replace function public.time_of_cursor(task_cursor text)
returns timestamptz
language sql immutable set search_path = '' as $$
  select timestamptz 'epoch' + split_part(time_of_cursor.task_cursor, '.', 1)::bigint * interval '1 microsecond'
$$;
revoke all on function public.time_of_cursor from public, anon, authenticated;
