-- A user's running tasks, of at most five, that are parts of an orchestration that is over.
create or replace function public.running_parts_of_ended(for_user uuid)
returns uuid[]
language plpgsql stable set search_path = '' as $$
begin
  return array(
    select id from public.tasks
     where user_id = for_user and slot is not null and orchestrator_task_id is not null
       and public.ended_orchestrator(orchestrator_task_id) is not null);
end
$$;
revoke all on function public.running_parts_of_ended from public, anon, authenticated;
