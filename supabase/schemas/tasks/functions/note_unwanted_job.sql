-- The id of a job that its run submitted while its task ended: from now on it can be withdrawn. False when nobody waits for it.
create or replace function public.note_unwanted_job(
  for_user uuid, for_provider text, for_task uuid, for_attempt integer, for_step smallint, new_request_id text
) returns boolean
language plpgsql set search_path = '' as $$
declare
  withdrawal public.provider_withdrawals;
begin
  update public.provider_withdrawals set request_id = new_request_id, next_try_at = now()
   where task_id = for_task and attempt = for_attempt and step = for_step and provider = for_provider and state = 'open'
     and by_owner = (for_user is not null) and (for_user is null or user_id = for_user)
     and coalesce(request_id, new_request_id) = new_request_id
  returning * into withdrawal;
  if not found then
    return false;
  end if;
  perform public.count_withdrawn_job(withdrawal);
  return true;
end
$$;
revoke all on function public.note_unwanted_job from public, anon, authenticated;
