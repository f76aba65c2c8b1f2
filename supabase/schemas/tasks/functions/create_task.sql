-- Creates one task or up to a hundred, all or none: priced, covered by a hold, queued.
-- `requests` is an array of {task_id?, task_type, params, project_id?, dependant_on, priority?, max_attempts?, run_after?, quote_id?,
-- placeholder?: see make_placeholder}.
-- `sent` is what the client sent, where the requests were built from it and are built otherwise each time. With rows, the
-- answer has the new rows as readers see them; `more` is added to it, and comes again with it.
-- Guarantees: no task without cover; the same key, or the same task id, and the same request give the first
-- answer again.
create or replace function public.create_task(
  for_user uuid, requests jsonb, is_batch boolean, idempotency_key text default null, for_token uuid default null,
  sent jsonb default null, with_rows boolean default false, more jsonb default '{}'
) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  hash constant bytea := sha256(convert_to(coalesce(sent, requests)::text, 'UTF8'));
  project public.projects;
  created jsonb := '[]';
  first_answer jsonb;
  request jsonb;
begin
  if create_task.idempotency_key is not null then
    -- The key is the payer's: the owner of the first project, whoever sends the request for them.
    project := public.project_of_request(for_user, requests -> 0);
    insert into public.task_requests (user_id, idempotency_key, request_hash)
    values (project.user_id, create_task.idempotency_key, hash) on conflict do nothing;
    if not found then
      return public.answered_request(project.user_id, create_task.idempotency_key, hash);
    end if;
  end if;

  -- Results that are given again go into shots, which come before tenants and accounts: also those of a batch's later tasks.
  if is_batch and exists (
       select from public.projects
        where reuses_results
          and id in (select public.uuid_or_null(value ->> 'project_id') from jsonb_array_elements(requests))) then
    perform from public.shots
      where id in (select public.uuid_or_null(public.shot_of_params(value -> 'params')) from jsonb_array_elements(requests))
        and project_id in (select id from public.projects where for_user is null or user_id = for_user)
      order by id for no key update;
  end if;

  for request in select value from jsonb_array_elements(requests) loop
    created := created || public.create_one_task(for_user, request, for_token);
  end loop;

  first_answer := case
    when is_batch then jsonb_build_object(
      'status', 'Task queued', 'tasks', created,
      'task_ids', (select jsonb_agg(task -> 'task_id') from jsonb_array_elements(created) as task),
      'deduplicated', not exists (select from jsonb_array_elements(created) as task
                                   where not (task -> 'deduplicated')::boolean))
    else created -> 0 end || more;
  if with_rows then
    first_answer := first_answer || jsonb_build_object('rows', (
      select jsonb_agg(to_jsonb(row_of) order by position)
        from jsonb_array_elements(created) with ordinality as one (task, position)
        join public.all_tasks as row_of on row_of.id = (task ->> 'task_id')::uuid));
  end if;
  if create_task.idempotency_key is not null then
    update public.task_requests as request_row set answer = first_answer
     where request_row.user_id = project.user_id
       and request_row.idempotency_key = create_task.idempotency_key;
  end if;
  return first_answer;
end
$$;
revoke all on function public.create_task from public, anon, authenticated;
grant execute on function public.create_task to service_role;
