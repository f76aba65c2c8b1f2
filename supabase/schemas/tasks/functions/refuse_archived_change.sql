-- The refusal of a change to a task that is not in `tasks`: 404, or why what is archived stays as it is.
create or replace function public.refuse_archived_change(
  for_user uuid, caller_kind text, for_task uuid, new_status public.task_status,
  for_worker text, for_attempt integer
) returns void
language plpgsql set search_path = '' as $$
declare
  task public.tasks;
  details jsonb;
begin
  select * into task from public.archived_task(for_task) where for_user is null or user_id = for_user;
  if not found then
    perform public.refuse('task_not_found', 404);
  end if;
  details := public.status_details(task)
    || jsonb_build_object('requested_status', new_status, 'allowed_transitions', '[]'::jsonb);
  if (for_attempt is not null and for_attempt <> task.attempt)
     or (for_worker is not null and for_worker is distinct from task.worker_id) then
    perform public.refuse('stale_attempt', 409, details);
  end if;
  if caller_kind = 'user' and new_status not in ('Cancelled', 'Queued') then
    perform public.refuse('forbidden', 403, jsonb_build_object('allowed', array['Cancelled', 'Queued']));
  end if;
  if task.status = 'Cancelled' and caller_kind <> 'user' then
    perform public.refuse('task_cancelled', 409, details);
  end if;
  perform public.refuse('invalid_transition', 409, details);
end
$$;
revoke all on function public.refuse_archived_change from public, anon, authenticated;
