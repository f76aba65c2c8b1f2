-- A task's place in lists by age: microseconds since 1970 and the id, which tells tasks of one moment apart.
create or replace function public.task_cursor(created_at timestamptz, id uuid)
returns text
language sql immutable set search_path = '' as $$
  select (extract(epoch from created_at) * 1000000)::bigint || '.' || id
$$;
revoke all on function public.task_cursor from public, anon, authenticated;
