-- Gives a result to tasks that follow its run, in the order of claims and at most so many: their rows as finish_followers() will
-- write them. Locks them, and who depends on them; one that somebody holds is passed over, so nobody is waited for
-- whom a follower's end could wait for.
create or replace function public.share_result(result public.tasks, at_most integer)
returns public.tasks[]
language plpgsql set search_path = '' as $$
declare
  followers public.tasks[] := array(
    select candidate from public.tasks as candidate
     where candidate.project_id = result.project_id and candidate.result_key = result.result_key
       and candidate.status = 'Queued' and candidate.is_following
     order by candidate.priority desc, candidate.created_at, candidate.id limit at_most for no key update skip locked);
  shared public.tasks[] := '{}';
  follower public.tasks;
begin
  if cardinality(followers) = 0 then
    return followers;
  end if;
  perform from public.tasks
    where id in (select needed.task_id from public.task_dependencies as needed
                  where needed.dependency_id in (select id from unnest(followers)))
    order by id for no key update;
  foreach follower in array followers loop
    shared := shared || public.reuse_result(follower, result);
  end loop;
  return shared;
end
$$;
revoke all on function public.share_result from public, anon, authenticated;
