-- How many open tasks a user has, tasks wait for a task, or children an orchestrator has.
create or replace function public.limit_count(of_subject text, of_subject_id uuid)
returns integer
language plpgsql stable set search_path = '' as $$
begin
  return (select coalesce(sum(amount), 0)::integer from public.limit_counts
           where subject_id = of_subject_id and subject = of_subject);
end
$$;
revoke all on function public.limit_count from public, anon, authenticated;
