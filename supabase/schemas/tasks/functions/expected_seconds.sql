-- How long a run of this type is expected to take: the operator's figure, at most the longest run. Never a measured one:
-- payers make what is measured.
create or replace function public.expected_seconds(for_task_type text)
returns integer
language plpgsql stable set search_path = '' as $$
begin
  return (select least(expected_seconds, max_runtime_seconds) from public.task_types where name = for_task_type);
end
$$;
revoke all on function public.expected_seconds from public, anon, authenticated;
